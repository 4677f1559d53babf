"""Every format against Keras on a small model; notes, publishing, and what is said of files that cannot be used."""

import json
import logging
import threading

import keras
import numpy as np
import pytest
from keras import layers

from course_utils import export
from course_utils.export import ExportError, Notes

NAMES = ["sound", "cracked"]


def small(outputs=1, activation="sigmoid", augment=False):
    keras.utils.set_random_seed(11)
    return keras.Sequential(
        [
            keras.Input((12, 10, 1), name="picture"),
            layers.Rescaling(1 / 127.5, offset=-1),
            *([layers.RandomTranslation(0.3, 0.3)] if augment else []),
            layers.Conv2D(4, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(outputs, activation=activation),
        ]
    )


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(11).integers(0, 256, (6, 12, 10, 1), dtype=np.uint8)


@pytest.fixture(scope="module")
def made(tmp_path_factory, pictures):
    """The small model in all formats, exported once."""
    folder, model = tmp_path_factory.mktemp("formats"), small()
    notes = Notes(NAMES, 0.8)
    model.save(folder / "small.keras")
    export.save_notes(folder / "small.keras", notes)
    version = export.export_saved_model(model, folder / "small")
    export.export_onnx(model, folder / "small.onnx", notes)
    export.export_litert(version, folder / "small.tflite")
    export.export_litert(version, folder / "bytes.tflite", pictures)
    return folder, model.predict(pictures.astype("float32"), verbose=0)


@pytest.mark.parametrize(
    ("name", "engine"),
    [
        ("small.keras", None),
        ("small", None),
        ("small/1", None),
        ("small.onnx", None),
        ("small.onnx", "opencv"),
        ("small.tflite", None),
    ],
)
def test_every_format_answers_like_keras(made, pictures, name, engine):
    folder, expected = made
    runner = export.load(folder / name, engine)
    assert runner.shape == (12, 10, 1)
    for batch in (pictures, pictures.astype("float64"), pictures[2:3]):
        answers = runner.answer(batch)
        assert answers.dtype == np.float32 and answers.shape == (len(batch), 1)
        assert np.allclose(answers, expected if len(batch) > 1 else expected[2:3], atol=1e-5)
    assert runner.notes == (Notes(["class 0", "class 1"]) if name == "small/1" else Notes(NAMES, 0.8))


def test_eight_bits_are_near_and_small(made, pictures):
    folder, expected = made
    runner = export.load(folder / "bytes.tflite")
    assert np.abs(runner.answer(pictures) - expected).max() < 0.05
    assert runner.notes.class_names == ["class 0", "class 1"]  # no notes lie beside it
    from ai_edge_litert.interpreter import Interpreter

    (entry,) = Interpreter(str(folder / "bytes.tflite")).get_input_details()
    assert entry["dtype"] is np.uint8 and entry["quantization"][1] == 0


def test_the_layout_is_what_a_server_looks_for(made):
    folder, _ = made
    assert {path.name for path in (folder / "small" / "1").iterdir()} >= {"saved_model.pb", "variables"}
    assert [path.name for path in (folder / "small").iterdir()] == ["1"]


def test_the_newest_version_is_loaded_by_number(made, tmp_path, pictures):
    folder, expected = made
    for number in ("9", "10"):
        (folder / "small" / "1").rename(tmp_path / number) if number == "10" else (tmp_path / number).mkdir()
    try:
        assert np.allclose(export.load(tmp_path).answer(pictures), expected, atol=1e-5)
    finally:
        (tmp_path / "10").rename(folder / "small" / "1")


def test_a_random_layer_is_silent_in_the_export(tmp_path, pictures):
    model = small(augment=True)
    expected = model.predict(pictures.astype("float32"), verbose=0)
    runner = export.load(export.export_saved_model(model, tmp_path / "m"))
    assert np.allclose(runner.answer(pictures), expected, atol=1e-5)
    assert np.array_equal(runner.answer(pictures), runner.answer(pictures))
    wrapped = export.for_use(model)
    assert wrapped.inputs[0].name == "picture"
    assert np.allclose(wrapped(pictures.astype("float32")), expected, atol=1e-5)


def test_conversions_are_silent_and_leave_loggers_alone(capfd, recwarn, tmp_path):
    before = logging.getLogger("tf2onnx").level
    export.export_onnx(small(3, "softmax"), tmp_path / "three.onnx", Notes(["a", "b", "c"]))
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""
    assert not [w for w in recwarn if "np.object" in str(w.message)]
    assert logging.getLogger("tf2onnx").level == before
    assert export.load(tmp_path / "three.onnx").notes == Notes(["a", "b", "c"], 0)
    with pytest.raises(ZeroDivisionError), export.conversion("nothing"):
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("small.onxx", None, r"no model .*small\.onxx.* \(did you mean “small\.onnx”\?\)"),
        ("photo.png", b"x", r"in no format .* \.keras, \.onnx, \.tflite"),
        ("broken.onnx", b"x", r"broken\.onnx” cannot be loaded as a model \(.+\): export it again"),
        ("broken.tflite", b"x", "cannot be loaded as a model"),
        ("broken.keras", b"x", "cannot be loaded as a model"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_sentence(tmp_path, name, content, told):
    (tmp_path / "small.onnx").write_bytes(b"x")
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ExportError, match=told) as error:
        export.load(tmp_path / name)
    assert "\n" not in str(error.value)


def test_a_folder_without_a_model(tmp_path):
    with pytest.raises(ExportError, match=r"holds no SavedModel"):
        export.load(tmp_path)


def test_notes(tmp_path):
    file = tmp_path / "m.tflite"
    assert export.read_notes(file, 1) == Notes(["class 0", "class 1"], 0)
    assert export.read_notes(file, 4).class_names == ["class 0", "class 1", "class 2", "class 3"]
    assert export.save_notes(file, Notes(NAMES, 0.75)) == tmp_path / "m.json"
    assert export.read_notes(file, 1) == export.read_notes(file, 2) == Notes(NAMES, 0.75)
    assert export.read_notes(file, 2, kept={"class_names": '["x", "y"]'}) == Notes(["x", "y"], 0)
    with pytest.raises(ExportError, match="answers for 3 classes, but 2 names"):
        export.read_notes(file, 3)
    for text in ("{", '{"class_names": "["}', '{"class_names": "[1, 2]", "sure_from": "high"}', "[1]", "3"):
        (tmp_path / "m.json").write_text(text, encoding="utf-8")
        with pytest.raises(ExportError, match="are damaged"):
            export.read_notes(file, 2)


def test_publish_replaces_files_and_folders_whole(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "data"))
    source = tmp_path / "made"
    (source / "m" / "1").mkdir(parents=True)
    for content in ("old", "new"):
        (source / "m.onnx").write_text(content, encoding="utf-8")
        (source / "m" / "1" / f"{content}.pb").touch()
        published = export.publish([source / "m.onnx", source / "m"])
    folder = export.models_folder()
    assert folder == tmp_path / "data" / "models" and published == [folder / "m.onnx", folder / "m"]
    assert (folder / "m.onnx").read_text(encoding="utf-8") == "new"
    assert sorted(p.name for p in (folder / "m" / "1").iterdir()) == ["new.pb", "old.pb"]
    assert not list(folder.glob(".part-*"))
    with pytest.raises(FileNotFoundError):
        export.publish([source / "missing"])
    assert (folder / "m.onnx").read_text(encoding="utf-8") == "new"


def test_readers_never_see_half_a_file(tmp_path):
    source, target = tmp_path / "made", tmp_path / "used"
    source.mkdir(), target.mkdir()
    (source / "notes.json").write_text(json.dumps(["x" * 100_000]), encoding="utf-8")
    export.publish([source / "notes.json"], target)
    stop, seen = threading.Event(), []

    def read():
        while not stop.is_set():
            seen.append(len(json.loads((target / "notes.json").read_text(encoding="utf-8"))[0]))

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(20):
        export.publish([source / "notes.json"], target)
    stop.set()
    reader.join()
    assert set(seen) == {100_000}


def test_both_classes_by_hand():
    assert np.allclose(export.both_classes(np.array([[0.25], [1.0]])), [[0.75, 0.25], [0, 1]])
    assert np.allclose(export.both_classes(np.array([[0.2, 0.3, 0.5]])), [[0.2, 0.3, 0.5]])
    assert np.allclose(export.both_classes(np.array([[0.5, 0.496]])).sum(axis=1), 1)  # the steps of eight bits
    for logits in ([[2.5]], [[-0.5]], [[1.2, -3.0]], [[0.9, 0.9]]):
        with pytest.raises(ValueError, match="no probabilities"):
            export.both_classes(np.array(logits))
