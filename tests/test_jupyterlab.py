"""Run All in JupyterLab, as a learner does it, for every notebook: ``python3 course.py test -m jupyterlab`` (minutes).

A failure leaves a screenshot in ``.screenshots``.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from chromium import Tab, chromium_port, needs_chromium  # noqa: F401  (a fixture)

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
SCREENSHOTS = ROOT / ".screenshots"
PANEL = "window.jupyterapp?.shell.currentWidget"
CELLS = f"{PANEL}.content.widgets.map(cell => cell.model.sharedModel)"
# Of each code cell that has not run or has complained: its number and what it said.
TROUBLE = (
    f"JSON.stringify({CELLS}.filter(cell => cell.cell_type === 'code').flatMap((cell, number) => "
    "(cell.execution_count === null && cell.source.trim() ? [[number, 'not run']] : []).concat(cell.outputs"
    ".filter(out => out.output_type === 'error' || out.name === 'stderr')"
    ".map(out => [number, out.evalue ?? [out.text].flat().join('')]))))"
)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A JupyterLab on copies of the notebooks, without outputs; return its address."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "notebooks").mkdir()
    shutil.copytree(ROOT / "docs", folder / "docs")
    for path in NOTEBOOKS:
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.update(outputs=[], execution_count=None)
        nbformat.write(notebook, folder / "notebooks" / path.name)
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--port=0", "--port-retries=50"]
    command += ["--IdentityProvider.token=", f"--ServerApp.root_dir={folder}", "--LabApp.expose_app_in_browser=True"]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path}
    del environment["COURSE_STRICT"]  # as for a learner, who goes on when a claim does not hold
    with (folder / "log").open("w+", encoding="utf-8") as log:  # a pipe that nobody reads would stop the server
        running = subprocess.Popen(command, stderr=log, cwd=folder, env=environment)
        address = None
        while address is None:
            assert running.poll() is None, (folder / "log").read_text(encoding="utf-8")
            lines = (folder / "log").read_text(encoding="utf-8").splitlines()
            address = next(
                (line.partition("http://127.0.0.1:")[2] for line in lines if "http://127.0.0.1:" in line), None
            )
        yield f"http://127.0.0.1:{address.strip().rstrip('/')}/tree/notebooks/"
        running.terminate()
        running.wait()


@needs_chromium
@pytest.mark.jupyterlab
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_run_all(lab, port, notebook):
    tab = Tab(
        port, f"{lab}{notebook.name}?reset", f"{PANEL}?.context?.sessionContext?.session?.kernel?.status === 'idle'"
    )
    try:
        tab.ask(
            "window.done = false; window.jupyterapp.commands.execute('notebook:run-all-cells')"
            ".finally(() => { window.done = true })"
        )
        tab.wait_for("window.done")
        assert tab.ask(TROUBLE) == "[]"
        claims = tab.ask(f"{CELLS}.flatMap(cell => cell.outputs ?? []).map(out => [out.text].flat().join('')).join('')")
        assert "✘ Not so in this run" not in claims
    except AssertionError:
        SCREENSHOTS.mkdir(exist_ok=True)
        (SCREENSHOTS / f"{notebook.stem}.png").write_bytes(tab.screenshot())
        raise
    finally:
        tab.ask(f"{PANEL}.context.sessionContext.shutdown()")
