"""The command: its answers in each form, bad files among good ones, missing models, and memory."""

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
import tqdm
from PIL import Image

from course_utils import export, predict
from course_utils.export import ExportError, Notes, Runner

ROOT = Path(predict.__file__).resolve().parent.parent


def brightness_model(file, notes=None, channels=1):
    """Write an ONNX file whose answer is known: the mean of the picture, divided by 255."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        helper.make_node("ReduceMean", ["picture", "axes"], ["mean"], keepdims=0),
        helper.make_node("Div", ["mean", "top"], ["share"]),
        helper.make_node("Reshape", ["share", "shape"], ["answer"]),
    ]
    constants = [
        onnx.numpy_helper.from_array(np.array([1, 2, 3], np.int64), "axes"),
        onnx.numpy_helper.from_array(np.array(255, np.float32), "top"),
        onnx.numpy_helper.from_array(np.array([-1, 1], np.int64), "shape"),
    ]
    takes = helper.make_tensor_value_info("picture", kind, ["n", 20, 20, channels])
    gives = helper.make_tensor_value_info("answer", kind, ["n", 1])
    graph = helper.make_graph(nodes, "brightness", [takes], [gives], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    if notes:
        helper.set_model_props(model, {"class_names": json.dumps(notes.class_names), "sure_from": str(notes.sure_from)})
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
    (inbox / "notes.txt").write_text("no picture", encoding="utf-8")
    return inbox


def run(capsys, *arguments):
    code = predict.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_lines(capsys, model, folder):
    code, out, err = run(capsys, folder, "--model", model)
    assert code == 0 and err == ""
    assert out.splitlines() == [
        f"{folder / 'a.jpg'}  dark  96 %",
        f"{folder / 'b.png'}  bright  90 %",
        f"{folder / 'deeper' / 'c.PNG'}  bright  55 %  (unsure: ask a person)",
    ]


def test_json(capsys, model, folder):
    code, out, _ = run(capsys, folder / "b.png", folder / "a.jpg", "--model", model, "--json")
    first, second = json.loads(out)
    assert code == 0 and first["file"] == str(folder / "b.png")
    assert first["label"] == "bright" and first["probability"] == pytest.approx(230 / 255) and first["sure"] is True
    assert first["probabilities"] == pytest.approx({"dark": 25 / 255, "bright": 230 / 255})
    assert second["label"] == "dark"
    assert len(out.splitlines()) == 4  # an object a line


def test_csv(capsys, model, folder):
    _, out, _ = run(capsys, folder, "--model", model, "--csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert list(rows[0]) == ["file", "label", "probability", "sure", "dark", "bright"]
    assert [row["sure"] for row in rows] == ["True", "True", "False"]
    assert float(rows[0]["dark"]) == pytest.approx(1 - 10 / 255, abs=0.01)


def test_bad_files_are_a_line_each_and_the_others_are_answered(capsys, model, folder):
    (folder / "text.jpg").write_text("This is no picture.", encoding="utf-8")
    (folder / "empty.png").touch()
    code, out, err = run(capsys, folder, folder / "missing.png", "--model", model, "--json")
    assert code == 1 and len(json.loads(out)) == 3
    lines = err.splitlines()
    assert len(lines) == 3
    assert "There is no file or folder" in lines[0]
    assert "is empty (0 bytes)" in lines[1] and "holds text and not a picture" in lines[2]


@pytest.mark.parametrize("form", ["--json", "--csv"])
def test_nothing_to_answer_is_still_well_formed(capsys, model, tmp_path, form):
    (tmp_path / "empty").mkdir()
    code, out, err = run(capsys, tmp_path / "empty", "--model", model, form)
    assert code == 1 and "holds no pictures" in err and len(err.splitlines()) == 1
    assert (
        json.loads(out) == [] if form == "--json" else out.splitlines() == ["file,label,probability,sure,dark,bright"]
    )


def test_a_file_that_is_named_counts_whatever_its_name(capsys, model, folder):
    (folder / "b.png").rename(folder / "picture.data")
    assert run(capsys, folder / "picture.data", "--model", model)[0] == 0


def test_without_a_model_it_says_where_one_comes_from(capsys, monkeypatch, tmp_path, folder):
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "data"))
    code, out, err = run(capsys, folder)
    assert code == 2 and out == "" and len(err.splitlines()) == 1
    assert "run the notebook 11_deployment once" in err and "--model FILE" in err
    brightness_model(export.models_folder() / predict.MODEL_NAME)
    code, out, _ = run(capsys, folder)
    assert code == 0 and "class 0  96 %" in out  # no names are kept with this one


def test_a_model_that_takes_no_pictures_is_one_sentence(capsys, tmp_path, folder):
    code, out, err = run(capsys, folder, "--model", brightness_model(tmp_path / "four.onnx", channels=4), "--json")
    assert (code, out) == (2, "") and len(err.splitlines()) == 1
    assert "shape (20, 20, 4)" in err and "1 or 3 channels" in err


def test_an_answer_that_is_no_probability_leaves_no_half_list(capsys, model, folder, monkeypatch):
    monkeypatch.setattr(predict, "load", lambda _: Runner(lambda batch: batch[:, 0, 0], (20, 20, 1), Notes(["a", "b"])))
    code, out, err = run(capsys, folder, "--model", model, "--json")
    assert (code, out) == (2, "") and "probabilit" in err


@pytest.mark.skipif(os.name == "nt", reason="Windows allows no such names")
def test_a_file_name_cannot_forge_a_line(capsys, model, tmp_path):
    code, out, _ = run(capsys, grey(tmp_path / "a\n\x1b[31mb.png", 230), "--model", model)
    assert code == 0 and len(out.splitlines()) == 1 and "\x1b" not in out


def test_a_model_that_is_none(capsys, tmp_path, folder):
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    code, _, err = run(capsys, folder, "--model", tmp_path / "broken.onnx")
    assert code == 2 and "cannot be loaded as a model" in err and len(err.splitlines()) == 1


def test_wrong_use_is_explained_by_argparse(capsys, folder):
    for arguments in ([], [str(folder), "--json", "--csv"]):
        with pytest.raises(SystemExit) as ended:
            predict.main(arguments)
        assert ended.value.code == 2 and "usage: python -m course_utils.predict" in capsys.readouterr().err


def test_a_thousand_pictures_are_never_in_memory_together(tmp_path):
    file, held, seen = grey(tmp_path / "one.png", 100), [0], []

    def answer(batch):
        held[0] = max(held[0], len(batch))
        return np.full((len(batch), 1), 0.9, np.float32)

    def files():
        for number in range(1000):
            seen.append(number)
            yield file

    model = Runner(answer, (20, 20, 1), Notes(["dark", "bright"]))
    stream = predict.predict_files(files(), model, print)
    assert next(stream).label == "bright" and len(seen) <= predict.BATCH
    assert sum(1 for _ in stream) == 999 and held[0] == predict.BATCH


def test_the_size_of_the_batch_changes_nothing(model, folder):
    files, _ = predict.find_pictures([folder])
    runner = export.load(model)
    results = [list(predict.predict_files(files, runner, print, size)) for size in (1, 2, 16)]
    assert results[0] == results[1] == results[2] and len(results[0]) == 3


def test_fitted_crops_the_middle_and_keeps_the_range():
    picture = np.zeros((20, 60, 3), np.uint8)
    picture[:, 20:40] = [255, 0, 0]
    assert np.array_equal(predict.fitted(picture, (20, 20, 3)), picture[:, 20:40])
    grey_one = predict.fitted(picture, (20, 20, 1))
    assert grey_one.shape == (20, 20, 1) and grey_one.dtype == np.uint8 and set(grey_one.flat) == {76}  # 0.299 · 255
    assert predict.fitted(picture, (10, 10, 3)).shape == (10, 10, 3)


def test_three_channels(capsys, tmp_path, folder):
    colour = brightness_model(tmp_path / "colour.onnx", channels=3)
    assert "class 1  90 %" in run(capsys, folder / "b.png", "--model", colour)[1]


def test_a_model_without_probabilities_is_refused(folder):
    model = Runner(lambda batch: np.full((len(batch), 1), 7.0), (20, 20, 1), Notes(["a", "b"]))
    with pytest.raises(ExportError, match="no probabilities"):
        list(predict.predict_files([folder / "b.png"], model, print))


def test_a_reader_that_leaves_and_a_user_who_stops(capsys, monkeypatch, model, folder):
    def raising(error):
        def write(*_):
            raise error

        return write

    monkeypatch.setattr(predict, "_as_lines", raising(KeyboardInterrupt()))
    assert run(capsys, folder, "--model", model) == (130, "", "Stopped.\n")


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_for_terminals_and_for_those_who_wait(capsys, monkeypatch, model, folder, terminal):
    seen = []

    class Bar(tqdm.tqdm):
        def __init__(self, *arguments, **options):
            seen.append(options)
            super().__init__(*arguments, **options)

    monkeypatch.setattr(tqdm, "tqdm", Bar)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    (folder / "text.jpg").write_text("This is no picture.", encoding="utf-8")
    code, out, err = run(capsys, folder, "--model", model)
    assert code == 1 and len(out.splitlines()) == 3
    assert len(err.split("\n")) == 2 and "%|" not in err  # it was over within two seconds
    assert seen[0]["disable"] is not terminal and seen[0]["delay"] == 2 and seen[0]["total"] == 4


def test_a_long_run_on_a_terminal_shows_a_bar_that_makes_room(capsys, monkeypatch, model, folder):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(predict, "_PATIENCE_S", 0)
    code, out, err = run(capsys, folder, "--model", model)
    assert code == 0 and len(out.splitlines()) == 3 and "%|" in err and "/3" in err


def command(*arguments, **options):
    line = [sys.executable, "-m", "course_utils.predict", *map(str, arguments)]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", **options)


def test_as_a_command_it_loads_no_framework(model, folder):
    code = f"import sys; from course_utils import predict; predict.main([{str(folder)!r}, '--model', {str(model)!r}]); "
    code += "print(sorted({'tensorflow', 'keras', 'matplotlib', 'IPython'} & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
    assert ended.stderr == "" and ended.stdout.splitlines()[-1] == "[]"


@pytest.mark.skipif(os.name != "posix", reason="pipes that break are a matter of POSIX systems")
def test_head_may_close_the_pipe(model, folder):
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
