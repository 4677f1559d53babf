"""A web page that asks the model of lesson 11: ``python -m course_utils.web_page``, for this computer only.

It shows what the model knows and its limits, the label of each image, how sure the model is, which part of the image
it saw, and where it looks (Grad-CAM of lesson 07). Nothing is fetched from outside, nothing leaves the computer, and
uploads are removed.
"""

import argparse
import html
import os
import re
import signal
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2
import numpy as np
from PIL import Image

import course_utils  # noqa: F401  (before TensorFlow)
from course_utils.folders import find_images
from course_utils.images import ImageError, data_uri, decode_image, kept_box, resize_to_cover
from course_utils.models import ModelError, Notes, Prediction, as_two_columns, default_model, load_model, to_prediction

if TYPE_CHECKING:
    import gradio

MODEL_NAME = "solar_cells.keras"
LARGEST_MB = 20
MOST_FILES = 20  # at once
KEPT_S = 600  # how long an upload stays, in seconds
WAITING = "Waiting for an image."
_SIDE = 440  # pixels of the images on the page
_HOSTS = ("127.0.0.1", "localhost")


def load_explainer(file: Path) -> tuple[Callable[[np.ndarray], tuple[Prediction, np.ndarray, tuple]], Notes]:
    """Load a ``.keras`` model; return a function that predicts and shows where the network looks, and its notes.

    The function turns uint8 (H, W, 3) RGB into a `Prediction`, what `overlay_heat_map` makes of the heat map of the
    predicted class, and the `kept_box`; several threads may call it. Raises `ModelError` if the file cannot be used.
    """
    if file.suffix != ".keras":
        raise ModelError(f"“{file}” is no .keras file: Grad-CAM needs the layers, which other formats do not show.")
    from course_utils.explain import grad_cam

    model = load_model(file)
    lock = threading.Lock()  # Grad-CAM changes the last layer for a moment: two visitors must not meet in it

    def explain(image: np.ndarray) -> tuple[Prediction, np.ndarray, tuple[int, int, int, int]]:
        ready = resize_to_cover(image, model.shape)
        with lock:
            (row,) = as_two_columns(model.predict(ready[np.newaxis]))
            prediction = to_prediction(file, row, model.notes)
            class_index = model.notes.class_names.index(prediction.label)
            heat = grad_cam(model.keras_model, ready, class_index=class_index)
        return prediction, overlay_heat_map(ready, heat), kept_box(image.shape, model.shape)

    try:  # so that a model that cannot be explained is noticed now, and not by the first visitor
        explain(np.zeros((64, 64, 3), np.uint8))
    except ValueError as error:
        raise ModelError(f"“{file}” cannot be shown on the page: {error}") from error
    return explain, model.notes


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
    """Return the page for a ``.keras`` model, not yet started; raise `ModelError` if the file cannot be used.

    Beside the model may lie its card (``m.md`` for ``m.keras``), whose lines **For** and **Not for** stand at the top,
    and a folder of images to try (``m_examples``).
    """
    # Gradio looks for a newer version of itself and counts its users, unless it is told not to before it is imported.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    import gradio

    explain, notes = load_explainer(file)
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(
        Path(__file__).with_name("web_page.html.jinja").read_text(encoding="utf-8")
    )

    def result(upload: Path) -> dict[str, object]:
        """Return what the template shows of one file: an error, or the prediction with its two images."""
        size = upload.stat().st_size / 1e6
        if size > LARGEST_MB:
            return {"name": upload.name, "error": f"It has {size:.0f} MB, the page takes {LARGEST_MB} MB: shrink it."}
        try:
            with upload.open("rb") as content:
                image = decode_image(content, upload.name)
        except ImageError as error:
            return {"name": upload.name, "error": str(error)}
        prediction, heat, (left, top, right, bottom) = explain(image)
        shown = (image * 0.35).astype(np.uint8)
        shown[top:bottom, left:right] = image[top:bottom, left:right]
        cropped = 1 - (right - left) * (bottom - top) / (image.shape[0] * image.shape[1])
        images = {"image": data_uri(shown, _SIDE), "heat": data_uri(heat, _SIDE), "cropped": cropped}
        return {"name": upload.name, "error": None, "prediction": prediction, **images}

    def respond(uploads: list[str] | None) -> Iterator[tuple[str, str]]:
        if not uploads:
            yield WAITING, ""
            return
        results = []
        for upload in uploads[:MOST_FILES]:
            results.append(result(Path(upload)))
            yield f"{len(results)} of {len(uploads)} …", template.render(results=results, percent=_percent)
        left_out = f" Only the first {MOST_FILES} of {len(uploads)} files were taken." * (len(uploads) > MOST_FILES)
        yield _summary(results) + left_out, template.render(results=results, percent=_percent)

    with gradio.Blocks(
        title=f"What does {file.stem} see?", analytics_enabled=False, delete_cache=(KEPT_S, KEPT_S), fill_width=False
    ) as page:
        gradio.Markdown(_introduction(file, notes))
        card = file.with_suffix(".md")
        if card.is_file():
            with gradio.Accordion("The whole model card", open=False):
                gradio.Markdown(card.read_text(encoding="utf-8").partition("\n")[2])  # its heading is the page's
        label = f"Images (up to {MOST_FILES}, {LARGEST_MB} MB each)"
        upload = gradio.File(label=label, file_count="multiple", height=130)
        examples = find_images([file.with_name(f"{file.stem}_examples")])[0][:6]
        with gradio.Row(visible=bool(examples)):
            for example in examples:
                button = gradio.Button(f"Try {example.stem}", icon=example, size="md", min_width=120)
                button.click(lambda chosen=str(example): [chosen], outputs=upload, api_name=False)
        # A screen reader speaks what changes in an element with the role “status”.
        message = gradio.HTML(WAITING, elem_id="message", js_on_load="element.setAttribute('role', 'status')")
        results = gradio.HTML(elem_id="results", apply_default_css=False)
        upload.change(respond, upload, [message, results], api_name="predict", concurrency_limit=1)
    return page.queue(max_size=50)


def _introduction(file: Path, notes: Notes) -> str:
    """Return the head of the page in Markdown: which model this is, what it knows, and what it does not know."""
    card, names = file.with_suffix(".md"), notes.class_names
    text = card.read_text(encoding="utf-8") if card.is_file() else ""
    heading = re.match(r"# (?:Model card: )?(.+)", text)
    lines = [f"# {heading[1] if heading else file.stem}"]
    lines.append(f"This model knows {len(names)} classes: {', '.join(names[:10])}{' …' * (len(names) > 10)}.")
    lines += re.findall(r"^- (\*\*(?:For|Not for):?\*\*.*(?:\n  .*)*)", text, re.MULTILINE)
    if not text:
        lines.append(f"It has no model card ({card.name}): what it was trained on, and its limits, are not known here.")
    if notes.min_confidence:
        lines.append(f"Below a probability of {100 * notes.min_confidence:.0f} % it is not sure, and the page says so.")
    else:
        lines.append("No threshold was chosen for it: the page shows its probabilities, but cannot say how sure it is.")
    return "\n\n".join([*lines, "Your images stay on this computer."])


def _percent(probability: float) -> str:
    """Return a probability as a whole percentage, rounded down: 99.7 % is not certainty."""
    return f"{int(100 * probability + 1e-6)} %"


def _summary(results: list[dict]) -> str:
    """Return one sentence on all files, for those who look at the page and those who hear it."""
    counts = Counter(
        "unreadable"
        if one["error"]
        else "not sure"
        if one["prediction"].confident is False
        else one["prediction"].label
        for one in results
    )
    images = "1 image" if len(results) == 1 else f"{len(results)} images"
    return html.escape(f"{images}: " + ", ".join(f"{count} × {what}" for what, count in counts.most_common()) + ".")


def start(page: "gradio.Blocks", port: int | None = None, browser: bool = False) -> str:
    """Start a page for this computer only, and return its address; ``page.close()`` ends it.

    Without a port it takes the first free one from 7860 on; raises OSError if the port is taken.
    """
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    # Gradio asks its own server whether it is there; a proxy must not be asked for that.
    os.environ["NO_PROXY"] = ",".join(filter(None, [os.environ.get("NO_PROXY"), *_HOSTS]))
    _, address, _ = page.launch(
        server_name=_HOSTS[0],  # reachable from this computer, and from no other
        server_port=port,
        share=False,
        inbrowser=browser,
        max_file_size=f"{3 * LARGEST_MB}mb",  # what is a little too large gets a sentence, what is huge is not stored
        prevent_thread_lock=True,
        quiet=True,
        run_history=False,
        ssr_mode=False,
        mcp_server=False,
        enable_monitoring=False,
        footer_links=[],
        # A foreign site whose name leads to this computer must not reach the page.
        app_kwargs={"middleware": [Middleware(TrustedHostMiddleware, allowed_hosts=_HOSTS)]},
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
