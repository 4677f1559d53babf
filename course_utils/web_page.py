"""A small web page that asks the model of lesson 11: ``python -m course_utils.web_page``, for this computer only.

Drop a picture, and see its label, the probability of each class, and where the network looks (Grad-CAM of lesson 07).
Nothing is fetched from outside, nothing leaves the computer, and uploads are removed.
"""

import argparse
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

import course_utils  # noqa: F401  (before TensorFlow)
from course_utils.export import ExportError, both_classes, read_notes
from course_utils.images import ImageError, decode_image, did_you_mean
from course_utils.predict import Prediction, default_model, fitted, judged

if TYPE_CHECKING:
    import gradio

MODEL_NAME = "solar_cells.keras"
LARGEST_MB = 20
KEPT_S = 600  # how long an upload stays, in seconds
WAITING = "Waiting for a picture."
_SIDE = 440  # pixels of the picture with the heat map


def explainer(file: Path) -> Callable[[np.ndarray], tuple[Prediction, np.ndarray]]:
    """Load a ``.keras`` model and return a function that answers and shows where the network looks.

    Parameters
    ----------
    file : Path
        A model with one input that ends in probabilities; its notes lie beside it.

    Returns
    -------
    callable
        Takes uint8 (H, W, 3) RGB; returns a `Prediction` and a picture with the heat map of the answered class over
        it, as `overlay` makes it. Threads wait for each other in it.

    Raises
    ------
    ExportError
        If the file cannot be used.
    """
    if not file.is_file():
        raise ExportError(f"There is no model “{file}”{did_you_mean(file)}: check the path.")
    if file.suffix != ".keras":
        raise ExportError(f"“{file}” is no .keras file: Grad-CAM needs the layers, which other formats do not show.")
    import keras

    from course_utils.explain import grad_cam

    try:
        model = keras.saving.load_model(file, compile=False)
    except Exception as error:  # a damaged file fails in many ways
        raise ExportError(f"“{file}” cannot be loaded as a model: save it again.") from error
    notes = read_notes(file, model.output_shape[-1])
    lock = threading.Lock()  # Grad-CAM changes the last layer for a moment: two visitors must not meet in it

    def explain(picture: np.ndarray) -> tuple[Prediction, np.ndarray]:
        ready = fitted(picture, tuple(model.input_shape[1:]))
        with lock:
            (row,) = both_classes(np.asarray(model(ready[None].astype(np.float32), training=False)))
            found = judged(file, row, notes)
            heat = grad_cam(model, ready, class_index=notes.class_names.index(found.label))
        return found, overlay(ready, heat)

    try:  # so that a model that cannot be explained is noticed now, and not by the first visitor
        explain(np.zeros((64, 64, 3), np.uint8))
    except ValueError as error:
        raise ExportError(f"“{file}” cannot be shown on the page: {error}") from error
    return explain


def overlay(picture: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Lay a heat map over a picture: nothing where it is 0, bright yellow at its own maximum.

    Parameters
    ----------
    picture : ndarray
        uint8 (H, W, 1) or (H, W, 3) in 0…255.
    heat : ndarray
        (h, w), 0 or more.

    Returns
    -------
    ndarray
        uint8 (440, 440, 3).
    """
    from matplotlib import colormaps

    side = (_SIDE, _SIDE)
    below = Image.fromarray(picture.squeeze()).convert("RGB").resize(side, Image.Resampling.BICUBIC)
    strength = Image.fromarray((heat / max(float(heat.max()), 1e-12)).astype(np.float32))
    strength = np.asarray(strength.resize(side, Image.Resampling.BICUBIC)).clip(0, 1)
    colours = 255 * colormaps["inferno"](strength)[..., :3]
    share = 0.65 * strength[..., None]
    return np.rint((1 - share) * np.asarray(below) + share * colours).astype(np.uint8)


def build(file: Path) -> "gradio.Blocks":
    """Return the page for a model, not yet started.

    Parameters
    ----------
    file : Path
        See `explainer`, which also raises.
    """
    # Gradio looks for a newer version of itself and counts its users, unless it is told not to before it is imported.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    import gradio

    explain = explainer(file)

    def answer(upload: str | None) -> tuple[str, dict[str, float] | None, np.ndarray | None, np.ndarray | None]:
        if upload is None:
            return WAITING, None, None, None
        try:
            with Path(upload).open("rb") as content:
                picture = decode_image(content, Path(upload).name)
        except ImageError as error:
            return f"⚠ {error}", None, None, None
        found, heat = explain(picture)
        small = Image.fromarray(picture)
        small.thumbnail((_SIDE, _SIDE))  # a photo of 20 MB need not travel back
        doubt = "" if found.sure else " The model is not sure enough to decide: **ask a person.**"
        said = f"**{found.label}**, {100 * found.probability:.0f} %.{doubt}"
        return said, found.probabilities, np.asarray(small), heat

    with gradio.Blocks(
        title=f"What does {file.stem} see?", analytics_enabled=False, delete_cache=(KEPT_S, KEPT_S), fill_width=False
    ) as page:
        gradio.Markdown("# What does the network see?\nDrop a picture. It stays on this computer.")
        upload = gradio.File(label=f"Picture, at most {LARGEST_MB} MB", height=120)
        message = gradio.Markdown(WAITING, elem_id="message")
        with gradio.Row():
            shown = gradio.Image(label="Your picture", interactive=False, buttons=[], height=300)
            heat = gradio.Image(label="What speaks for this answer", interactive=False, buttons=[], height=300)
            shares = gradio.Label(label="Probabilities")
        results = [message, shares, shown, heat]
        upload.change(
            answer, upload, results, api_name="answer", concurrency_limit=1, show_progress_on=[shares, shown, heat]
        )
    return page.queue(max_size=50)


def start(page: "gradio.Blocks", port: int | None = None, browser: bool = False) -> str:
    """Start a page for this computer only, and return its address.

    Parameters
    ----------
    page : gradio.Blocks
        From `build`; ``page.close()`` ends it.
    port : int, optional
        By default the first free one from 7860 on.
    browser : bool
        Whether to open it in the browser.

    Raises
    ------
    OSError
        If the port is taken.
    """
    _, address, _ = page.launch(
        server_name="127.0.0.1",  # reachable from this computer, and from no other
        server_port=port,
        share=False,
        inbrowser=browser,
        max_file_size=f"{LARGEST_MB}mb",
        prevent_thread_lock=True,
        quiet=True,
        run_history=False,
        ssr_mode=False,
        mcp_server=False,
        enable_monitoring=False,
        footer_links=[],
    )
    return address


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the page until Ctrl+C; return 0, or 2 if it cannot start."""
    parser = argparse.ArgumentParser(
        prog="python -m course_utils.web_page", description="A web page, for this computer only, that asks a model."
    )
    parser.add_argument("--model", metavar="FILE", type=Path, help=".keras file; by default the one of lesson 11")
    parser.add_argument("--port", type=int, help="by default the first free one from 7860 on")
    parser.add_argument("--browser", action="store_true", help="open the page in the browser")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="course-web-page-") as uploads:
        os.environ["GRADIO_TEMP_DIR"] = uploads
        try:
            page = build((options.model or default_model(MODEL_NAME)).expanduser())
            address = start(page, options.port, options.browser)
        except (ExportError, OSError) as error:
            print(error, file=sys.stderr)
            return 2
        print(f"The page is at {address} (Ctrl+C ends it).", flush=True)
        before = signal.signal(signal.SIGTERM, _as_ctrl_c)  # a system that shuts down asks this way: uploads go too
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            page.close(verbose=False)
        finally:
            signal.signal(signal.SIGTERM, before)
    return 0


def _as_ctrl_c(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
