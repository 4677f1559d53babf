"""A web page that asks the model of lesson 11: ``python -m course_utils.web_page``, for this computer only.

It shows the label of an image, the probability of each class, and where the network looks (Grad-CAM of lesson 07).
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
from course_utils.images import ImageError, decode_image, resize_to_cover
from course_utils.models import ModelError, Prediction, as_two_columns, default_model, load_model, to_prediction

if TYPE_CHECKING:
    import gradio

MODEL_NAME = "solar_cells.keras"
LARGEST_MB = 20
KEPT_S = 600  # how long an upload stays, in seconds
WAITING = "Waiting for an image."
_SIDE = 440  # pixels of the image with the heat map


def load_explainer(file: Path) -> Callable[[np.ndarray], tuple[Prediction, np.ndarray]]:
    """Load a ``.keras`` model and return a function that predicts and shows where the network looks.

    It turns uint8 (H, W, 3) RGB into a `Prediction` and what `overlay_heat_map` makes of the heat map of the predicted
    class; several threads may call it. Raises `ModelError` if the file cannot be used.
    """
    if file.suffix != ".keras":
        raise ModelError(f"“{file}” is no .keras file: Grad-CAM needs the layers, which other formats do not show.")
    from course_utils.explain import grad_cam

    model = load_model(file)
    lock = threading.Lock()  # Grad-CAM changes the last layer for a moment: two visitors must not meet in it

    def explain(image: np.ndarray) -> tuple[Prediction, np.ndarray]:
        ready = resize_to_cover(image, model.shape)
        with lock:
            (row,) = as_two_columns(model.predict(ready[np.newaxis]))
            prediction = to_prediction(file, row, model.notes)
            class_index = model.notes.class_names.index(prediction.label)
            heat = grad_cam(model.keras_model, ready, class_index=class_index)
        return prediction, overlay_heat_map(ready, heat)

    try:  # so that a model that cannot be explained is noticed now, and not by the first visitor
        explain(np.zeros((64, 64, 3), np.uint8))
    except ValueError as error:
        raise ModelError(f"“{file}” cannot be shown on the page: {error}") from error
    return explain


def overlay_heat_map(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Blend a heat map over an image: nothing where it is 0, bright yellow at its own maximum.

    Takes uint8 (H, W, 1) or (H, W, 3) in 0…255 and a map (h, w) of values from 0; returns uint8 (440, 440, 3).
    """
    from matplotlib import colormaps

    side = (_SIDE, _SIDE)
    below = Image.fromarray(image.squeeze()).convert("RGB").resize(side, Image.Resampling.BICUBIC)
    strength = Image.fromarray((heat / max(float(heat.max()), 1e-12)).astype(np.float32))
    strength = np.asarray(strength.resize(side, Image.Resampling.BICUBIC)).clip(0, 1)
    colours = 255 * colormaps["inferno"](strength)[..., :3]
    opacity = 0.65 * strength[..., np.newaxis]
    return np.rint((1 - opacity) * np.asarray(below) + opacity * colours).astype(np.uint8)


def build_page(file: Path) -> "gradio.Blocks":
    """Return the page for a ``.keras`` model, not yet started; raise `ModelError` if the file cannot be used."""
    # Gradio looks for a newer version of itself and counts its users, unless it is told not to before it is imported.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    import gradio

    explain = load_explainer(file)

    def respond(upload: str | None) -> tuple[str, dict[str, float] | None, np.ndarray | None, np.ndarray | None]:
        if upload is None:
            return WAITING, None, None, None
        try:
            with Path(upload).open("rb") as content:
                image = decode_image(content, Path(upload).name)
        except ImageError as error:
            return f"⚠ {error}", None, None, None
        prediction, heat = explain(image)
        small = Image.fromarray(image)
        small.thumbnail((_SIDE, _SIDE))  # a photo of 20 MB need not travel back
        doubt = "" if prediction.confident else " The model is not sure enough to decide: **ask a person.**"
        sentence = f"**{prediction.label}**, {100 * prediction.probability:.0f} %.{doubt}"
        return sentence, prediction.probabilities, np.asarray(small), heat

    with gradio.Blocks(
        title=f"What does {file.stem} see?", analytics_enabled=False, delete_cache=(KEPT_S, KEPT_S), fill_width=False
    ) as page:
        gradio.Markdown("# What does the network see?\nDrop an image. It stays on this computer.")
        upload = gradio.File(label=f"Image, at most {LARGEST_MB} MB", height=120)
        message = gradio.Markdown(WAITING, elem_id="message")
        with gradio.Row():
            shown = gradio.Image(label="Your image", interactive=False, buttons=[], height=300)
            heat = gradio.Image(label="What speaks for this prediction", interactive=False, buttons=[], height=300)
            probabilities = gradio.Label(label="Probabilities")
        results = [message, probabilities, shown, heat]
        upload.change(respond, upload, results, api_name="predict", concurrency_limit=1, show_progress_on=results[1:])
    return page.queue(max_size=50)


def start(page: "gradio.Blocks", port: int | None = None, browser: bool = False) -> str:
    """Start a page for this computer only, and return its address; ``page.close()`` ends it.

    Without a port it takes the first free one from 7860 on; raises OSError if the port is taken.
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
            page = build_page((options.model or default_model(MODEL_NAME)).expanduser())
            address = start(page, options.port, options.browser)
        except (ModelError, OSError) as error:
            print(error, file=sys.stderr)
            return 2
        print(f"The page is at {address} (Ctrl+C ends it).", flush=True)
        # A system that shuts down sends SIGTERM: the uploads must go then, too.
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            page.close(verbose=False)
        finally:
            signal.signal(signal.SIGTERM, before)
    return 0


if __name__ == "__main__":
    sys.exit(main())
