"""The command: its predictions in each form, bad files among good ones, missing models, and memory."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from course_utils import live, predict
from course_utils.folders import find_images
from course_utils.models import ModelError, Notes, Runner, load_model, models_folder

ROOT = Path(predict.__file__).resolve().parent.parent


def brightness_model(file, notes=None, channels=1):
    """Write an ONNX file whose output is known: the mean of the image, divided by 255."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        helper.make_node("ReduceMean", ["image", "axes"], ["mean"], keepdims=0),
        helper.make_node("Div", ["mean", "top"], ["fraction"]),
        helper.make_node("Reshape", ["fraction", "shape"], ["output"]),
    ]
    constants = [
        onnx.numpy_helper.from_array(np.array([1, 2, 3], np.int64), "axes"),
        onnx.numpy_helper.from_array(np.array(255, np.float32), "top"),
        onnx.numpy_helper.from_array(np.array([-1, 1], np.int64), "shape"),
    ]
    takes = helper.make_tensor_value_info("image", kind, ["n", 20, 20, channels])
    gives = helper.make_tensor_value_info("output", kind, ["n", 1])
    graph = helper.make_graph(nodes, "brightness", [takes], [gives], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    if notes:
        helper.set_model_props(
            model, {"class_names": json.dumps(notes.class_names), "min_confidence": str(notes.min_confidence)}
        )
    onnx.save(model, file)
    return file


def grey(file, level, size=(20, 20)):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, level).save(file)
    return file


@pytest.fixture
def model(tmp_path):
    return brightness_model(tmp_path / "brightness.onnx", Notes(["dark", "bright"], 0.7))


@pytest.fixture
def folder(tmp_path):
    inbox = tmp_path / "inbox"
    grey(inbox / "b.png", 230)
    grey(inbox / "a.jpg", 10, (50, 40))
    grey(inbox / "deeper" / "c.PNG", 140)
    grey(inbox / ".hidden.png", 0)
    (inbox / "notes.txt").write_text("no image", encoding="utf-8")
    return inbox


def run(capsys, *arguments):
    code = predict.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_predict_lines(capsys, model, folder):
    code, out, err = run(capsys, folder, "--model", model)
    assert code == 0 and err == ""
    assert out.splitlines() == [
        f"{folder / 'a.jpg'}  dark  96 %",
        f"{folder / 'b.png'}  bright  90 %",
        f"{folder / 'deeper' / 'c.PNG'}  bright  55 %  (unsure: ask a person)",
    ]


def test_predict_json(capsys, model, folder):
    code, out, _ = run(capsys, folder / "b.png", folder / "a.jpg", "--model", model, "--json")
    first, second = json.loads(out)
    assert code == 0 and first["file"] == str(folder / "b.png")
    assert (
        first["label"] == "bright" and first["probability"] == pytest.approx(230 / 255) and first["confident"] is True
    )
    assert first["probabilities"] == pytest.approx({"dark": 25 / 255, "bright": 230 / 255})
    assert second["label"] == "dark"
    assert len(out.splitlines()) == 4  # an object a line


def test_predict_csv(capsys, model, folder):
    _, out, _ = run(capsys, folder, "--model", model, "--csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert list(rows[0]) == ["file", "label", "probability", "confident", "dark", "bright"]
    assert [row["confident"] for row in rows] == ["True", "True", "False"]
    assert float(rows[0]["dark"]) == pytest.approx(1 - 10 / 255, abs=0.01)


def test_predict_without_threshold_does_not_say_how_sure(capsys, model, folder):
    brightness_model(model, Notes(["dark", "bright"]))
    _, out, _ = run(capsys, folder, "--model", model, "--json")
    assert [one["confident"] for one in json.loads(out)] == [None] * 3
    _, out, _ = run(capsys, folder, "--model", model, "--csv")
    assert [row["confident"] for row in csv.DictReader(io.StringIO(out))] == [""] * 3
    assert "unsure" not in run(capsys, folder, "--model", model)[1]


def test_predict_skips_bad_files(capsys, model, folder):
    (folder / "text.jpg").write_text("This is no image.", encoding="utf-8")
    (folder / "empty.png").touch()
    code, out, err = run(capsys, folder, folder / "missing.png", "--model", model, "--json")
    assert code == 1 and len(json.loads(out)) == 3
    lines = err.splitlines()
    assert len(lines) == 3
    assert "There is no file or folder" in lines[0]
    assert "is empty (0 bytes)" in lines[1] and "holds text and not an image" in lines[2]


@pytest.mark.parametrize("form", ["--json", "--csv"])
def test_predict_nothing_is_well_formed(capsys, model, tmp_path, form):
    (tmp_path / "empty").mkdir()
    code, out, err = run(capsys, tmp_path / "empty", "--model", model, form)
    assert code == 1 and "holds no images" in err and len(err.splitlines()) == 1
    assert (
        json.loads(out) == []
        if form == "--json"
        else out.splitlines() == ["file,label,probability,confident,dark,bright"]
    )


def test_predict_without_model_names_lesson(capsys, monkeypatch, tmp_path, folder):
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "data"))
    code, out, err = run(capsys, folder)
    assert code == 2 and out == "" and len(err.splitlines()) == 1
    assert "run the notebook 11_deployment once" in err and "--model FILE" in err
    brightness_model(models_folder() / "solar_cells.onnx")
    code, out, _ = run(capsys, folder)
    assert code == 0 and "class 0  96 %" in out  # no names are kept with this one


def test_predict_refuses_model_without_images(capsys, tmp_path, folder):
    code, out, err = run(capsys, folder, "--model", brightness_model(tmp_path / "four.onnx", channels=4), "--json")
    assert (code, out) == (2, "") and len(err.splitlines()) == 1
    assert "shape (20, 20, 4)" in err and "1 or 3 channels" in err


def test_predict_refuses_logits_before_writing(capsys, model, folder, monkeypatch):
    logits = Runner(lambda batch: batch[:, 0, 0], (20, 20, 1), Notes(["a", "b"]))
    monkeypatch.setattr(predict, "load_model", lambda _: logits)
    code, out, err = run(capsys, folder, "--model", model, "--json")
    assert (code, out) == (2, "") and "probabilit" in err


@pytest.mark.skipif(os.name == "nt", reason="Windows allows no such names")
def test_predict_file_name_cannot_forge_line(capsys, model, tmp_path):
    code, out, _ = run(capsys, grey(tmp_path / "a\n\x1b[31mb.png", 230), "--model", model)
    assert code == 0 and len(out.splitlines()) == 1 and "\x1b" not in out


def test_predict_refuses_damaged_model(capsys, tmp_path, folder):
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    code, _, err = run(capsys, folder, "--model", tmp_path / "broken.onnx")
    assert code == 2 and "cannot be loaded as a model" in err and len(err.splitlines()) == 1


def test_predict_explains_wrong_use(capsys, folder):
    for arguments in ([], [str(folder), "--json", "--csv"]):
        with pytest.raises(SystemExit) as ended:
            predict.main(arguments)
        assert ended.value.code == 2 and "usage: python -m course_utils.predict" in capsys.readouterr().err


def test_predict_files_holds_one_batch(tmp_path):
    file, held, seen = grey(tmp_path / "one.png", 100), [0], []

    def outputs(batch):
        held[0] = max(held[0], len(batch))
        return np.full((len(batch), 1), 0.9, np.float32)

    def files():
        for number in range(1000):
            seen.append(number)
            yield file

    model = Runner(outputs, (20, 20, 1), Notes(["dark", "bright"]))
    stream = predict.predict_files(files(), model, print)
    assert next(stream).label == "bright" and len(seen) <= predict.BATCH
    assert sum(1 for _ in stream) == 999 and held[0] == predict.BATCH


def test_predict_files_independent_of_batch_size(model, folder, monkeypatch):
    files, _ = find_images([folder])
    runner = load_model(model)
    results = []
    for size in (1, 2, 16):
        monkeypatch.setattr(predict, "BATCH", size)
        results.append(list(predict.predict_files(files, runner, print)))
    assert results[0] == results[1] == results[2] and len(results[0]) == 3


def test_predict_three_channels(capsys, tmp_path, folder):
    colour = brightness_model(tmp_path / "colour.onnx", channels=3)
    assert "class 1  90 %" in run(capsys, folder / "b.png", "--model", colour)[1]


def test_predict_files_refuses_logits(folder):
    model = Runner(lambda batch: np.full((len(batch), 1), 7.0), (20, 20, 1), Notes(["a", "b"]))
    with pytest.raises(ModelError, match="no probabilities"):
        list(predict.predict_files([folder / "b.png"], model, print))


def test_predict_stops_with_ctrl_c(capsys, monkeypatch, model, folder):
    def raising(error):
        def write(*_):
            raise error

        return write

    monkeypatch.setattr(predict, "_as_lines", raising(KeyboardInterrupt()))
    assert run(capsys, folder, "--model", model) == (130, "", "Stopped.\n")


@pytest.mark.parametrize(("terminal", "lines_on_terminal"), [(True, False), (True, True), (False, False)])
def test_predict_shows_progress_where_no_line_does(capsys, monkeypatch, model, folder, terminal, lines_on_terminal):
    monkeypatch.setattr(live, "_PATIENCE", 0)
    monkeypatch.setattr(live, "_TICK", 0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: lines_on_terminal)
    (folder / "text.jpg").write_text("This is no image.", encoding="utf-8")
    code, out, err = run(capsys, folder, "--model", model)
    assert code == 1 and len(out.splitlines()) == 3 and "text.jpg" in err
    assert ("images · 3 of 4" in err) is (terminal and not lines_on_terminal)
    assert not terminal or lines_on_terminal or err.endswith(f"\r{' ' * len('images · 3 of 4')}\r")  # wiped in the end


def test_predict_shows_no_progress_within_two_seconds(capsys, monkeypatch, model, folder):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(live, "_PATIENCE", 3600)
    assert run(capsys, folder, "--model", model)[2] == ""


def command(*arguments, **options):
    line = [sys.executable, "-m", "course_utils.predict", *map(str, arguments)]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", **options)


def test_predict_loads_no_framework(model, folder):
    code = f"import sys; from course_utils import predict; predict.main([{str(folder)!r}, '--model', {str(model)!r}]); "
    code += "print(sorted({'tensorflow', 'keras', 'matplotlib', 'IPython'} & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
    assert ended.stderr == "" and ended.stdout.splitlines()[-1] == "[]"


@pytest.mark.skipif(os.name != "posix", reason="pipes that break are a matter of POSIX systems")
def test_predict_survives_closed_pipe(model, folder):
    for number in range(300):
        grey(folder / f"{number:03d}.png", number % 256)
    line = [sys.executable, "-m", "course_utils.predict", str(folder), "--model", str(model)]
    with subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        running.stdout.readline()
        running.stdout.close()
        assert running.stderr.read() == b""
    assert running.returncode in (0, 1)
    ended = command(folder / "000.png", "--model", model)
    assert ended.returncode == 0 and ended.stderr == ""
