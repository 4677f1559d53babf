"""Every format, written and loaded, against Keras on a small model; publishing."""

import json
import logging
import threading

import keras
import numpy as np
import pytest
from keras import layers

from course_utils import export
from course_utils.models import Notes, load_model, models_folder, save_notes

NAMES = ["sound", "cracked"]


def small(outputs=1, activation="sigmoid", augment=False):
    keras.utils.set_random_seed(11)
    return keras.Sequential(
        [
            keras.Input((12, 10, 1), name="image"),
            layers.Rescaling(1 / 127.5, offset=-1),
            *([layers.RandomTranslation(0.3, 0.3)] if augment else []),
            layers.Conv2D(4, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(outputs, activation=activation),
        ]
    )


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(11).integers(0, 256, (6, 12, 10, 1), dtype=np.uint8)


@pytest.fixture(scope="module")
def made(tmp_path_factory, images):
    """The small model in all formats, exported once."""
    folder, model = tmp_path_factory.mktemp("formats"), small()
    notes = Notes(NAMES, 0.8)
    model.save(folder / "small.keras")
    save_notes(folder / "small.keras", notes)
    version = export.export_saved_model(model, folder / "small")
    export.export_onnx(model, folder / "small.onnx", notes)
    export.export_litert(version, folder / "small.tflite")
    export.export_litert(version, folder / "bytes.tflite", images)
    return folder, model.predict(images.astype("float32"), verbose=0)


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
def test_formats_agree_with_keras(made, images, name, engine):
    folder, expected = made
    runner = load_model(folder / name, engine)
    assert runner.shape == (12, 10, 1)
    for batch in (images, images.astype("float64"), images[2:3]):
        outputs = runner.predict(batch)
        assert outputs.dtype == np.float32 and outputs.shape == (len(batch), 1)
        assert np.allclose(outputs, expected if len(batch) > 1 else expected[2:3], atol=1e-5)
    assert runner.notes == (Notes(["class 0", "class 1"]) if name == "small/1" else Notes(NAMES, 0.8))


def test_litert_with_eight_bits_is_close(made, images):
    folder, expected = made
    runner = load_model(folder / "bytes.tflite")
    assert np.abs(runner.predict(images) - expected).max() < 0.05
    assert runner.notes.class_names == ["class 0", "class 1"]  # no notes lie beside it
    from ai_edge_litert.interpreter import Interpreter

    (entry,) = Interpreter(str(folder / "bytes.tflite")).get_input_details()
    assert entry["dtype"] is np.uint8 and entry["quantization"][1] == 0


def test_saved_model_has_layout_of_servers(made):
    folder, _ = made
    assert {path.name for path in (folder / "small" / "1").iterdir()} >= {"saved_model.pb", "variables"}
    assert [path.name for path in (folder / "small").iterdir()] == ["1"]


def test_saved_model_newest_version_is_loaded(made, tmp_path, images):
    folder, expected = made
    for number in ("9", "10"):
        (folder / "small" / "1").rename(tmp_path / number) if number == "10" else (tmp_path / number).mkdir()
    try:
        assert np.allclose(load_model(tmp_path).predict(images), expected, atol=1e-5)
    finally:
        (tmp_path / "10").rename(folder / "small" / "1")


def test_inference_model_silences_random_layer(tmp_path, images):
    model = small(augment=True)
    expected = model.predict(images.astype("float32"), verbose=0)
    runner = load_model(export.export_saved_model(model, tmp_path / "m"))
    assert np.allclose(runner.predict(images), expected, atol=1e-5)
    assert np.array_equal(runner.predict(images), runner.predict(images))
    wrapped = export.inference_model(model)
    assert wrapped.inputs[0].name == "image"
    assert np.allclose(wrapped(images.astype("float32")), expected, atol=1e-5)


def test_quiet_conversion_is_silent(capfd, recwarn, tmp_path):
    before = logging.getLogger("tf2onnx").level
    export.export_onnx(small(3, "softmax"), tmp_path / "three.onnx", Notes(["a", "b", "c"]))
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""
    assert not [w for w in recwarn if "np.object" in str(w.message)]
    assert logging.getLogger("tf2onnx").level == before
    assert load_model(tmp_path / "three.onnx").notes == Notes(["a", "b", "c"], 0)
    with pytest.raises(ZeroDivisionError), export.quiet_conversion("nothing"):
        raise ZeroDivisionError


def test_publish_replaces_files_and_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "data"))
    source = tmp_path / "made"
    (source / "m" / "1").mkdir(parents=True)
    for content in ("old", "new"):
        (source / "m.onnx").write_text(content, encoding="utf-8")
        (source / "m" / "1" / f"{content}.pb").touch()
        published = export.publish([source / "m.onnx", source / "m"])
    folder = models_folder()
    assert folder == tmp_path / "data" / "models" and published == [folder / "m.onnx", folder / "m"]
    assert (folder / "m.onnx").read_text(encoding="utf-8") == "new"
    assert sorted(p.name for p in (folder / "m" / "1").iterdir()) == ["new.pb", "old.pb"]
    assert not list(folder.glob(".part-*"))
    with pytest.raises(FileNotFoundError):
        export.publish([source / "missing"])
    assert (folder / "m.onnx").read_text(encoding="utf-8") == "new"


def test_publish_never_shows_half_a_file(tmp_path):
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
