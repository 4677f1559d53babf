"""Models: their notes, what probabilities become, and one sentence for each file that cannot be used."""

import json
from pathlib import Path

import numpy as np
import pytest

from course_utils.models import (
    ModelError,
    Notes,
    Prediction,
    as_two_columns,
    load_model,
    notes_file,
    read_notes,
    save_notes,
    to_prediction,
)

NAMES = ["sound", "cracked"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("small.onxx", None, r"no model .*small\.onxx.* \(did you mean “small\.onnx”\?\)"),
        ("photo.png", b"x", r"in no known format.* \.keras, \.onnx, \.tflite"),
        ("broken.onnx", b"x", r"broken\.onnx” cannot be loaded as a model \(.+\): export it again"),
        ("broken.tflite", b"x", "cannot be loaded as a model"),
        ("broken.keras", b"x", "cannot be loaded as a model"),
    ],
)
def test_load_model_refuses_in_one_sentence(tmp_path, name, content, message):
    (tmp_path / "small.onnx").write_bytes(b"x")
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=message) as error:
        load_model(tmp_path / name)
    assert "\n" not in str(error.value)


def test_load_model_refuses_folder_without_model(tmp_path):
    with pytest.raises(ModelError, match=r"holds no SavedModel"):
        load_model(tmp_path)


def test_as_two_columns_by_hand():
    assert np.allclose(as_two_columns(np.array([[0.25], [1.0]])), [[0.75, 0.25], [0, 1]])
    assert np.allclose(as_two_columns(np.array([[0.2, 0.3, 0.5]])), [[0.2, 0.3, 0.5]])
    assert np.allclose(as_two_columns(np.array([[0.5, 0.496]])).sum(axis=1), 1)  # the steps of eight bits
    for logits in ([[2.5]], [[-0.5]], [[1.2, -3.0]], [[0.9, 0.9]]):
        with pytest.raises(ValueError, match="no probabilities"):
            as_two_columns(np.array(logits))


def test_notes_are_read_as_they_were_saved(tmp_path):
    file = tmp_path / "m.tflite"
    assert read_notes(file, 1) == Notes(["class 0", "class 1"], 0)
    assert read_notes(file, 4).class_names == ["class 0", "class 1", "class 2", "class 3"]
    assert save_notes(file, Notes(NAMES, 0.75)) == tmp_path / "m.json"
    assert read_notes(file, 1) == read_notes(file, 2) == Notes(NAMES, 0.75)
    assert read_notes(file, 2, metadata={"class_names": '["x", "y"]'}) == Notes(["x", "y"], 0)
    assert read_notes(file, 2, metadata={"min_confidence": "0.5"}) == Notes(["class 0", "class 1"], 0.5)
    with pytest.raises(ModelError, match="has 3 classes, but 2 names"):
        read_notes(file, 3)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cells.keras", "cells.json"),
        ("cells.tflite", "cells.json"),
        ("cells", "cells.json"),
        ("cells.v1", "cells.v1.json"),
        ("cells.v2", "cells.v2.json"),
        ("cells.v1.onnx", "cells.v1.json"),
    ],
)
def test_notes_file_belongs_to_one_model(tmp_path, name, expected):
    assert notes_file(tmp_path / name) == tmp_path / expected


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[1]",
        "3",
        '{"class_names": "["}',
        '{"class_names": "\\"ab\\""}',
        '{"class_names": "[1, 2]", "min_confidence": "high"}',
    ],
)
def test_notes_that_are_damaged_are_refused(tmp_path, text):
    (tmp_path / "m.json").write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match=r"notes of .* are damaged"):
        read_notes(tmp_path / "m.onnx", 2)


@pytest.mark.parametrize(
    ("notes", "message"),
    [
        (Notes(NAMES, 97), "min_confidence is 97: .* from 0 to 1"),
        (Notes(NAMES, -0.1), "min_confidence is -0.1"),
        (Notes(NAMES, float("nan")), "min_confidence is nan"),
        (Notes(["sound", "sound"]), "Two classes share a name"),
    ],
)
def test_notes_that_cannot_be_right_are_refused(tmp_path, notes, message):
    with pytest.raises(ModelError, match=message):
        save_notes(tmp_path / "m.onnx", notes)
    assert not list(tmp_path.iterdir())
    metadata = {"class_names": json.dumps(notes.class_names), "min_confidence": str(notes.min_confidence)}
    with pytest.raises(ModelError, match=f"are damaged .*{message}"):
        read_notes(tmp_path / "m.onnx", 2, metadata)


def test_prediction_is_confident_from_min_confidence_on():
    row = np.array([0.25, 0.75])
    expected = Prediction(Path("a"), "cracked", 0.75, True, {"sound": 0.25, "cracked": 0.75})
    assert to_prediction(Path("a"), row, Notes(NAMES, 0.75)) == expected
    assert to_prediction(Path("a"), row, Notes(NAMES, 0.76)) == expected._replace(confident=False)
    assert to_prediction(Path("a"), row, Notes(NAMES)) == expected._replace(confident=None)  # nobody knows
