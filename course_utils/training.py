"""Watch a training run, and its learning curves afterwards, as lesson 05 introduces both."""

from collections.abc import Mapping, Sequence

import keras
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import MaxNLocator

from course_utils.live import LiveLine


def live_progress() -> keras.callbacks.Callback:
    """Return a callback for one ``model.fit`` at a time that shows in a `LiveLine` how far the training is."""
    line = None

    def begin(logs: Mapping[str, float] | None = None) -> None:
        nonlocal line
        line = LiveLine(f"training: at most {callback.params['epochs']} epochs")

    def epoch_end(epoch: int, logs: Mapping[str, float] | None = None) -> None:
        numbers = " · ".join(f"{name} {value:.3f}" for name, value in (logs or {}).items())
        line.update(f"epoch {epoch + 1} · {numbers}")

    def end(logs: Mapping[str, float] | None = None) -> None:
        line.rest()

    callback = keras.callbacks.LambdaCallback(on_epoch_end=epoch_end, on_train_begin=begin, on_train_end=end)
    return callback


def plot_history(
    history: keras.callbacks.History | Mapping[str, Sequence[float]], fine_tuning: keras.callbacks.History | None = None
) -> None:
    """Plot loss and accuracy over the epochs, training against validation, and mark the lowest validation loss.

    `history` is what ``model.fit`` returned, or its ``.history``; ValueError if it lacks ``loss`` or ``accuracy``.
    `fine_tuning` is the history of a second ``fit`` of the same model: appended, with a line where it starts.
    """
    curves = getattr(history, "history", history)
    for name in ("loss", "accuracy"):
        if not len(curves.get(name, ())):
            raise ValueError(
                f"The history has no {name!r}: pass what model.fit returned, compiled with metrics=['accuracy']."
            )
    if fine_tuning is not None:
        border = len(curves["loss"]) + 0.5
        curves = {name: [*values, *fine_tuning.history[name]] for name, values in curves.items()}
    epochs = np.arange(1, len(curves["loss"]) + 1)
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.6))
    for axis, name in zip(axes, ("loss", "accuracy"), strict=True):
        axis.plot(epochs, curves[name], "o-", label="training")
        if f"val_{name}" in curves:
            axis.plot(epochs, curves[f"val_{name}"], "s-", label="validation")
        axis.set(xlabel="epoch", ylabel=name)
        axis.margins(y=0.1)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if "val_loss" in curves:
        best = epochs[np.argmin(curves["val_loss"])]
        for axis in axes:
            axis.axvline(best, color="0.5", linewidth=1.4, linestyle="--", zorder=0, label="lowest validation loss")
    if fine_tuning is not None:
        for axis in axes:
            axis.axvline(border, color="C3", linewidth=1.6, zorder=0, label="fine-tuning starts here")
    axes[0].set_ylim(bottom=0)
    figure.legend(*axes[1].get_legend_handles_labels(), loc="outside lower center", ncols=4)
