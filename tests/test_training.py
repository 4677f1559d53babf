"""Learning curves and live progress, checked against histories written by hand."""

from types import SimpleNamespace

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest

from course_utils import training

HISTORY = {
    "loss": [2.0, 1.0, 0.5, 0.2],
    "accuracy": [0.2, 0.6, 0.8, 0.9],
    "val_loss": [2.1, 1.2, 0.9, 1.1],  # lowest in the third epoch
    "val_accuracy": [0.1, 0.5, 0.7, 0.65],
}


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


def lines(axis):
    return {line.get_label(): line for line in axis.get_lines()}


def test_plot_history_counts_epochs_from_one():
    assert training.plot_history(HISTORY) is None
    loss, accuracy = plt.gcf().axes
    assert (loss.get_ylabel(), accuracy.get_ylabel()) == ("loss", "accuracy")
    assert loss.get_xlabel() == accuracy.get_xlabel() == "epoch"
    assert lines(loss)["training"].get_xydata().tolist() == [[1, 2.0], [2, 1.0], [3, 0.5], [4, 0.2]]
    assert lines(loss)["validation"].get_ydata().tolist() == [2.1, 1.2, 0.9, 1.1]
    assert lines(accuracy)["validation"].get_ydata().tolist() == [0.1, 0.5, 0.7, 0.65]
    assert loss.get_ylim()[0] == 0


def test_plot_history_marks_lowest_validation_loss():
    training.plot_history(HISTORY)
    for axis in plt.gcf().axes:
        assert set(lines(axis)["lowest validation loss"].get_xdata()) == {3}
    named = [text.get_text() for text in plt.gcf().legends[0].get_texts()]
    assert named == ["training", "validation", "lowest validation loss"]


def test_plot_history_appends_fine_tuning():
    more = keras.callbacks.History()
    more.history = {name: values[:2] for name, values in HISTORY.items()}
    training.plot_history(HISTORY, fine_tuning=more)
    for axis in plt.gcf().axes:
        assert lines(axis)["training"].get_xdata().tolist() == [1, 2, 3, 4, 5, 6]
        assert set(lines(axis)["fine-tuning starts here"].get_xdata()) == {4.5}


def test_plot_history_without_validation_draws_training_only():
    history = keras.callbacks.History()
    history.history = {"loss": [1.0], "accuracy": [0.5]}
    training.plot_history(history)
    assert [set(lines(axis)) for axis in plt.gcf().axes] == [{"training"}, {"training"}]


@pytest.mark.parametrize("history", [{}, {"loss": [1.0]}, {"loss": [], "accuracy": []}])
def test_plot_history_says_what_is_missing(history):
    with pytest.raises(ValueError, match=r"no '(loss|accuracy)': pass what model\.fit returned"):
        training.plot_history(history)


def fit_once(epochs):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(np.zeros((2, 1)), np.zeros((2, 1)), epochs=epochs, verbose=0, callbacks=[training.live_progress()])


class Handle:
    """Stands for the place in a notebook that `display` returned, and keeps what it showed."""

    def __init__(self):
        self.shown = []

    def update(self, data, raw):
        assert raw
        self.shown.append(data["text/plain"])


def test_live_progress_ends_with_the_text_it_began_with(monkeypatch):
    handle = Handle()

    def display(data, raw, display_id):
        assert raw and display_id
        handle.shown.append(data["text/plain"])
        return handle

    monkeypatch.setattr("IPython.display.display", display)
    monkeypatch.setattr("IPython.get_ipython", lambda: SimpleNamespace(kernel="a notebook's"))
    fit_once(epochs=2)
    first, one, two, last = handle.shown
    assert first == last == "training: at most 2 epochs"
    assert one.startswith("training: at most 2 epochs · epoch 1 · loss 0.000")
    assert two.startswith("training: at most 2 epochs · epoch 2 · ")
