"""The benchmarks run (small, with --quick); docs/benchmarks.md shows what they found. No test here judges a time."""

import importlib
import json
import math
import platform
import subprocess
import sys

import numpy as np
import pytest

from benchmarks import _report
from course_utils import datasets

SCRIPTS = sorted(path.stem for path in (_report.ROOT / "benchmarks").glob("[!_]*.py"))
AS_A_PROGRAM = "course"  # the others run in this process: TensorFlow takes seconds to start
KEYS = {"name", "date", "seconds", "quick", "machine", *_report.Result._fields}
RESULT = _report.Result(
    title="A title",
    question="How long?",
    columns={"way": "", "time (ms)": ",.1f"},
    rows=[{"way": "slow", "time (ms)": 1234.56}, {"way": "not measured", "time (ms)": None}],
    checks=[("slow is slow", True), ("slow is fast", False)],
    notes=["A note."],
)


@pytest.fixture(scope="module")
def kept():
    """What the scripts that have run so far said on stderr, printed and kept."""
    return {}


@pytest.fixture
def quick(kept, monkeypatch, tmp_path, capfd):
    """Run a script with --quick, the first time it is asked for; return its stderr, its stdout and what it kept."""
    monkeypatch.setitem(sys.modules, "_report", _report)  # as a script finds it beside itself
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))  # some choose another one

    def run(name):
        if name not in kept:
            file = tmp_path / "result.json"
            arguments = ["--quick", "--output", str(file)]
            script = _report.ROOT / "benchmarks" / f"{name}.py"
            capfd.readouterr()
            if name == AS_A_PROGRAM:
                ended = subprocess.run([sys.executable, str(script), *arguments], cwd=_report.ROOT)
                code = ended.returncode
            else:
                code = _report.main(str(script), importlib.import_module(f"benchmarks.{name}").measure, arguments)
            out, error = capfd.readouterr()
            assert code == 0, out + error
            kept[name] = error, out, json.loads(file.read_text(encoding="utf-8"))
        return kept[name]

    return run


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # Keras reads TensorFlow's variables so
@pytest.mark.parametrize("name", SCRIPTS)
def test_script_keeps_what_the_page_needs(name, quick):
    error, out, result = quick(name)
    assert "WARNING" not in error
    assert result.keys() == KEYS
    assert result["name"] == name and result["quick"] is True and result["seconds"] > 0
    assert result["machine"]["processor"] and result["machine"]["cores"] >= 1
    assert {"keras", "numpy"} < result["machine"]["versions"].keys()
    assert result["rows"] and result["checks"]
    for row in result["rows"]:
        assert row.keys() <= result["columns"].keys()
        assert all(math.isfinite(value) for value in row.values() if isinstance(value, int | float))
    assert _report.table(result["columns"], result["rows"]) in out
    if len(platform.node()) > 5:
        assert platform.node() not in json.dumps(result)


def column(result, name):
    return [row[name] for row in result["rows"]]


def test_convolution_times_all_five_ways(quick):
    _, _, result = quick("convolution")
    ways = [way.split()[0] for way in column(result, "way")]
    assert ways == ["loops", "loops", "course_utils:", "OpenCV:", "Keras:"]
    assert all(time > 0 for time in column(result, "time (ms)"))
    assert max(column(result, "times as fast as loops")[:2]) == 1


def test_convolution_refuses_to_time_wrong_numbers(quick, monkeypatch):
    from benchmarks import convolution

    monkeypatch.setattr(convolution, "correlate", lambda photo, kernel: np.zeros((46, 46)))
    with pytest.raises(AssertionError, match=r"course_utils.* gives other numbers"):
        convolution.measure(quick=True)


def test_pipeline_times_the_code_of_the_lesson(quick, monkeypatch, tmp_path):
    _, _, result = quick("pipeline")
    assert len(result["rows"]) == 7 and all(speed > 0 for speed in column(result, "images per second"))
    assert result["rows"][0]["times the plain loop"] == 1

    from benchmarks import pipeline

    other = tmp_path / "02_preprocessing.md"
    other.write_text("```{code-cell} ipython3\ndef decode(file):\n    pass\n```\n", encoding="utf-8")
    monkeypatch.setattr(pipeline, "LESSON", other)
    with pytest.raises(LookupError, match=r"defines pipeline\(\) in 0 cells"):
        pipeline.code_of_the_lesson(tmp_path)
    with pytest.raises(AssertionError, match="1 pictures came, not 2"):
        pipeline.seconds_for([(np.zeros((1, 2, 2)), 0)], 2)


def test_course_measures_a_kernel(quick):
    _, _, result = quick("course")
    assert column(result, "lesson") == ["00_numpy_for_images"]
    assert result["rows"][0]["time (s)"] > 0
    assert 20 < result["rows"][0]["peak memory (MB)"] < 4000


def test_few_cells_are_of_all_kinds_and_only_for_a_while():
    whole = datasets.solar_cells()
    with _report.few_cells():
        for part in ("train", "validation", "test"):
            cells = datasets.read_solar_cells(part, 8)
            assert 10 < len(cells.labels) < 100 and set(cells.labels) == {0, 1}
        assert len(set(datasets.read_solar_cells("all", 8).groups)) == 44
    assert datasets.solar_cells() == whole


def test_page_shows_the_last_results():
    assert _report.PAGE.read_text(encoding="utf-8") == _report.page(), "run: .venv/bin/python benchmarks/_report.py"


def test_results_are_of_real_runs():
    for file in _report.RESULTS.glob("*.json"):
        kept = json.loads(file.read_text(encoding="utf-8"))
        assert kept.keys() == KEYS and kept["name"] == file.stem and kept["quick"] is False


def test_table_by_hand():
    assert _report.table(RESULT.columns, RESULT.rows) == (
        "| way          | time (ms) |\n"
        "| ------------ | --------: |\n"
        "| slow         |   1,234.6 |\n"
        "| not measured |           |"
    )


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "1 s"), (59.6, "60 s"), (119, "119 s"), (150, "2 min"), (600, "10 min")]
)
def test_duration_in_seconds_or_minutes(seconds, text):
    assert _report.as_duration(seconds) == text


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.setattr(_report, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(_report, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(_report, "page", lambda original=_report.page: original(tmp_path / "results"))
    return tmp_path


def test_run_is_kept_and_on_the_page_and_fails_with_its_checks(elsewhere, capsys):
    assert _report.main("benchmarks/zebra.py", lambda quick: RESULT, []) == 1  # one check does not hold
    good = RESULT._replace(title="Another", checks=RESULT.checks[:1])
    assert _report.main("benchmarks/pipeline.py", lambda quick: good, []) == 0
    assert "✘ slow is fast" in capsys.readouterr().out
    page = (elsewhere / "page.md").read_text(encoding="utf-8")
    assert page.index("## Another") < page.index("## A title")  # known ones first
    for words in ("How long?", "|   1,234.6 |", "- ✔ slow is slow\n- ✘ slow is fast", "A note.", "cores", "`zebra.py`"):
        assert words in page


def test_quick_run_decides_and_keeps_nothing(elsewhere):
    seen = []
    assert _report.main("benchmarks/zebra.py", lambda quick: seen.append(quick) or RESULT, ["--quick"]) == 0
    assert seen == [True] and list(elsewhere.iterdir()) == []


def test_median_leaves_out_the_first_call(monkeypatch):
    clock = iter([0, 1, 10, 13, 20, 22])
    monkeypatch.setattr(_report.time, "perf_counter", lambda: next(clock))
    calls = []
    assert _report.median_seconds(lambda: calls.append(1), runs=3) == 2
    assert len(calls) == 4


def test_machine_on_other_systems(monkeypatch):
    monkeypatch.setattr(_report.sys, "platform", "win32")
    assert _report.processor()
    monkeypatch.setattr(_report.sys, "platform", "darwin")
    monkeypatch.setattr(
        _report.subprocess, "run", lambda *args, **options: subprocess.CompletedProcess(args, 0, "Some Chip\n", "")
    )
    assert _report.processor() == "Some Chip"
