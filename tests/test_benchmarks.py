"""The benchmarks run (small, with --quick); docs/benchmarks.md shows what they found. No test here judges a time."""

import json
import math
import platform
import subprocess
import sys

import numpy as np
import pytest

from benchmarks import _report

SCRIPTS = sorted(path for path in (_report.ROOT / "benchmarks").glob("*.py") if not path.stem.startswith("_"))
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
def quick(tmp_path_factory):
    """Run a script with --quick once; return its exit code, what it printed and what it kept."""
    done = {}

    def run(script):
        if script not in done:
            file = tmp_path_factory.mktemp("benchmark") / "result.json"
            command = [sys.executable, str(script), "--quick", "--output", str(file)]
            ended = subprocess.run(command, cwd=_report.ROOT, capture_output=True, text=True, encoding="utf-8")
            assert ended.returncode == 0, ended.stdout + ended.stderr
            done[script] = ended, json.loads(file.read_text(encoding="utf-8"))
        return done[script]

    return run


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_script_runs_and_keeps_what_the_page_needs(script, quick):
    ended, kept = quick(script)
    assert "WARNING" not in ended.stderr
    assert kept.keys() == KEYS
    assert kept["name"] == script.stem and kept["quick"] is True and kept["seconds"] > 0
    assert kept["machine"]["processor"] and kept["machine"]["cores"] >= 1
    assert {"keras", "numpy"} < kept["machine"]["versions"].keys()
    assert kept["rows"] and kept["checks"]
    for row in kept["rows"]:
        assert row.keys() <= kept["columns"].keys()
        assert all(math.isfinite(value) for value in row.values() if isinstance(value, int | float))
    assert _report.table(kept["columns"], kept["rows"]) in ended.stdout
    if len(platform.node()) > 5:
        assert platform.node() not in json.dumps(kept)


def column(kept, name):
    return [row[name] for row in kept["rows"]]


def test_convolution_times_all_five_ways(quick):
    _, kept = quick(_report.ROOT / "benchmarks" / "convolution.py")
    assert [way.split()[0] for way in column(kept, "way")] == ["loops", "loops", "course_utils:", "OpenCV:", "Keras:"]
    assert all(0 < time < 10_000 for time in column(kept, "time (ms)"))
    assert max(column(kept, "times as fast as loops")[:2]) == 1


def test_convolution_refuses_to_time_what_is_wrong(monkeypatch):
    monkeypatch.setitem(sys.modules, "_report", _report)  # as the script finds it beside itself
    from benchmarks import convolution

    monkeypatch.setattr(convolution, "correlate", lambda photo, kernel: np.zeros((46, 46)))
    with pytest.raises(AssertionError, match=r"course_utils.* gives other numbers"):
        convolution.measure(quick=True)


def test_pipeline_times_the_code_of_the_lesson(quick, monkeypatch, tmp_path):
    _, kept = quick(_report.ROOT / "benchmarks" / "pipeline.py")
    assert len(kept["rows"]) == 7 and all(0 < speed < 1e7 for speed in column(kept, "pictures a second"))
    assert kept["rows"][0]["times the plain loop"] == 1

    monkeypatch.setitem(sys.modules, "_report", _report)
    from benchmarks import pipeline

    other = tmp_path / "02_preprocessing.md"
    other.write_text("```{code-cell} ipython3\ndef decode(file):\n    pass\n```\n", encoding="utf-8")
    monkeypatch.setattr(pipeline, "LESSON", other)
    with pytest.raises(LookupError, match=r"defines pipeline\(\) in 0 cells"):
        pipeline.code_of_the_lesson(tmp_path)
    with pytest.raises(AssertionError, match="1 pictures came, not 2"):
        pipeline.seconds_for([(np.zeros((1, 2, 2)), 0)], 2)


def test_course_measures_a_kernel(quick):
    _, kept = quick(_report.ROOT / "benchmarks" / "course.py")
    assert column(kept, "lesson") == ["01_environment_check"]
    assert 0 < kept["rows"][0]["time (s)"] < 300
    assert 50 < kept["rows"][0]["peak memory (MB)"] < 4000


def test_page_shows_the_last_results():
    assert _report.PAGE.read_text(encoding="utf-8") == _report.page(), "run: .venv/bin/python benchmarks/_report.py"


def test_results_are_real_runs():
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
def test_durations(seconds, text):
    assert _report.as_duration(seconds) == text


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.setattr(_report, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(_report, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(_report, "page", lambda original=_report.page: original(tmp_path / "results"))
    return tmp_path


def test_a_run_is_kept_and_drawn_and_fails_with_its_checks(elsewhere, capsys):
    assert _report.main("benchmarks/zebra.py", lambda quick: RESULT, []) == 1  # one check does not hold
    good = RESULT._replace(title="Another", checks=RESULT.checks[:1])
    assert _report.main("benchmarks/pipeline.py", lambda quick: good, []) == 0
    assert "✘ slow is fast" in capsys.readouterr().out
    page = (elsewhere / "page.md").read_text(encoding="utf-8")
    assert page.index("## Another") < page.index("## A title")  # known ones first
    for words in ("How long?", "|   1,234.6 |", "- ✔ slow is slow\n- ✘ slow is fast", "A note.", "cores", "`zebra.py`"):
        assert words in page


def test_a_quick_run_decides_and_keeps_nothing(elsewhere):
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
