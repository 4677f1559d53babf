"""Bring an image of your own into a notebook: upload, camera, web address.

Each function takes a `fallback`, an array or the name of a sample photo such as ``"cat"``, so that a notebook also runs
from top to bottom with no person, no camera and no network.
"""

import html
import io
import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import ipywidgets as widgets
import numpy as np
from IPython.display import display
from PIL import Image

from course_utils._setup.fetch import FetchError, Limits, fetch
from course_utils.datasets import sample_photo
from course_utils.images import ImageError, decode_image, silent_stderr
from course_utils.plots import Explorer

_WARM_UP = 10  # frames a camera may take to find its exposure
_LIMITS = Limits(size=20_000_000, silence=5.0, longest=15.0)


def upload_image(fallback: np.ndarray | str) -> Callable[[], np.ndarray]:
    """Show an upload button and return a function that gives the current image, to be called in a later cell.

    That is `fallback` until somebody has chosen a file, then uint8 (H, W, 3) as `images.read_image` gives it.
    """
    button = widgets.FileUpload(accept="image/*", multiple=False, description="Choose an image")
    button.layout.width = "max-content"  # the usual width cuts the words off
    current, show, say = _stage(button, fallback, "The bundled image is used until you choose one.")

    def chosen(change: dict) -> None:
        for upload in change["new"]:
            try:
                show(decode_image(io.BytesIO(upload["content"]), upload["name"]))
            except ImageError as error:
                say(f"{error} The last image stays.")
            else:
                say(f"“{upload['name']}” is used from now on: run the cells below again.")

    button.observe(chosen, names="value")
    return current


def take_photo(fallback: np.ndarray | str, camera: int = 0) -> Callable[[], np.ndarray]:
    """Show a button that takes a photo, and return a function that gives the current image, uint8 (H, W, 3) RGB.

    Only a click switches the camera on, for a moment. It is the camera of the computer on which Python runs (0 is the
    first): on Binder, Colab or a server there is none, and the fallback stays; upload a photo there.
    """
    button = widgets.Button(description="Take a photo", icon="camera")
    current, show, say = _stage(button, fallback, "The bundled image is used until you take a photo.")

    def clicked(_: widgets.Button) -> None:
        say("The camera starts …")
        photo = _photograph(camera)
        if photo is None:
            say("No camera answers on the computer that runs this notebook: the last image stays.")
        else:
            show(photo)
            say("Your photo is used from now on: run the cells below again.")

    button.on_click(clicked)
    return current


def download_image(url: str, fallback: np.ndarray | str) -> np.ndarray:
    """Return the image at a web address, or `fallback` after one printed line that says why not.

    The address leads to the image itself, not to a page that shows it. The image comes as uint8 (H, W, 3), as
    `images.read_image` gives it. Gives up after 5 s with hardly a byte, after 15 s in all, and beyond 20 MB.
    """
    fallback = _image(fallback)  # first, so that a misspelt name shows also where there is a network
    url = url.strip()
    try:
        return decode_image(io.BytesIO(_fetch(url)), url)
    except ImageError as error:
        print(f"{error} Here is the bundled image instead.")
    except (FetchError, OSError, ValueError) as error:
        print(f"“{url}” could not be downloaded, because {error}: here is the bundled image instead.")
    return fallback


def _image(fallback: np.ndarray | str) -> np.ndarray:
    return sample_photo(fallback) if isinstance(fallback, str) else fallback


def _stage(
    button: widgets.Widget, fallback: np.ndarray | str, hint: str
) -> tuple[Callable[[], np.ndarray], Callable[[np.ndarray], None], Callable[[str], None]]:
    """Show a button with a line of text and room for a small preview; return (current image, show, say)."""
    image = _image(fallback)
    line = widgets.HTML()
    preview = widgets.Image(format="png", width=200, layout={"display": "none"})

    def current() -> np.ndarray:
        return image

    def show(new: np.ndarray) -> None:
        nonlocal image
        image = new
        small = Image.fromarray(new)
        small.thumbnail((400, 400))  # the browser gets a small copy
        buffer = io.BytesIO()
        small.save(buffer, format="png")
        preview.value = buffer.getvalue()
        preview.layout.display = None

    def say(text: str) -> None:
        line.value = html.escape(text)

    say(hint)
    display(Explorer(button.description, [widgets.VBox([button, line, preview])]))
    return current, show, say


def _photograph(camera: int) -> np.ndarray | None:
    """Take one photo, uint8 (H, W, 3) RGB, or return None if no camera delivers one."""
    frame = None
    with silent_stderr():  # drivers complain there about each camera that does not exist
        device = cv2.VideoCapture(camera)
        try:
            for _ in range(_WARM_UP if device.isOpened() else 0):
                arrived, latest = device.read()
                frame = latest if arrived else frame
        except cv2.error:
            return None
        finally:
            device.release()
    return None if frame is None else cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)


def _fetch(url: str) -> bytes:
    if not url:
        raise ImageError("No address was given.")
    if not url.startswith(("http://", "https://")):
        raise ImageError(f"The address “{url}” does not start with http:// or https://.")
    # Windows keeps a file that the thread of a given-up download still holds open.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        file = Path(folder) / "image"
        fetch(url, file, _LIMITS)
        return file.read_bytes()
