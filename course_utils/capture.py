"""Bring a picture of your own into a notebook: upload, camera, web address.

Each function takes a `fallback`, an array or the name of a sample photo, so that a notebook also runs from top to
bottom with no person, no camera and no network. Lesson 02 uses all three.
"""

import html
import http.client
import io
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable

import cv2
import ipywidgets as widgets
import numpy as np
from IPython.display import display
from PIL import Image

from course_utils.datasets import sample_photo
from course_utils.images import ImageError, decode_image, silent_stderr

_WARM_UP = 10  # frames a camera may take to find its exposure
_MOST_BYTES = 20_000_000
_TIMEOUT = 5.0  # seconds of silence from a server
_LONGEST = 15.0  # seconds for a whole download, however slowly it drips


def upload_image(fallback: np.ndarray | str) -> Callable[[], np.ndarray]:
    """Show an upload button and return a function that gives the current picture.

    The function returns `fallback` until somebody has chosen a file, and then the picture in it::

        my_picture = upload_image(fallback="cat")  # one cell: the button
        image = my_picture()                       # a later cell: the picture

    Parameters
    ----------
    fallback : ndarray or str
        What to return while nothing was uploaded: a picture, or the name of a sample photo such as ``"cat"``.

    Returns
    -------
    callable
        Takes nothing and returns an ndarray: the fallback, or uint8 (H, W, 3) as `images.read_image` gives it.
    """
    button = widgets.FileUpload(accept="image/*", multiple=False, description="Choose a picture")
    button.layout.width = "max-content"  # the usual width cuts the words off
    current, show, say = _stage(button, fallback, "The bundled picture is used until you choose one.")

    def chosen(change: dict) -> None:
        for upload in change["new"]:
            try:
                show(decode_image(io.BytesIO(upload["content"]), upload["name"]))
            except ImageError as error:
                say(f"{error} The last picture stays.")
            else:
                say(f"“{upload['name']}” is used from now on: run the cells below again.")

    button.observe(chosen, names="value")
    return current


def take_photo(fallback: np.ndarray | str, camera: int = 0) -> Callable[[], np.ndarray]:
    """Show a button that takes a photo, and return a function that gives the current picture.

    Only a click switches the camera on, for a moment; running the cell never does. It is the camera of the computer
    on which Python runs: on Binder, Colab or a server there is none, and the fallback stays; upload a photo there.

    Parameters
    ----------
    fallback : ndarray or str
        What to return while no photo was taken: a picture, or the name of a sample photo such as ``"cat"``.
    camera : int
        Which camera: 0 is the first one of the system.

    Returns
    -------
    callable
        Takes nothing and returns an ndarray: the fallback, or the photo as uint8 (H, W, 3) RGB.
    """
    button = widgets.Button(description="Take a photo", icon="camera")
    current, show, say = _stage(button, fallback, "The bundled picture is used until you take a photo.")

    def clicked(_: widgets.Button) -> None:
        say("The camera starts …")
        photo = _photograph(camera)
        if photo is None:
            say("No camera answers on the computer that runs this notebook: the last picture stays.")
        else:
            show(photo)
            say("Your photo is used from now on: run the cells below again.")

    button.on_click(clicked)
    return current


def download_image(url: str, fallback: np.ndarray | str) -> np.ndarray:
    """Return the picture at a web address, or `fallback` after one printed line that says why not.

    It gives up after 5 s without an answer, after 15 s in all, and beyond 20 MB.

    Parameters
    ----------
    url : str
        Starts with ``http://`` or ``https://`` and leads to the picture itself, not to a page that shows it.
    fallback : ndarray or str
        What to return if the picture cannot be had: a picture, or the name of a sample photo such as ``"coffee"``.

    Returns
    -------
    ndarray
        The fallback, or uint8 (H, W, 3) as `images.read_image` gives it.
    """
    fallback = _picture(fallback)  # first, so that a misspelt name shows also where there is a network
    try:
        return decode_image(io.BytesIO(_fetch(url)), url)
    except ImageError as error:
        print(f"{error} Here is the bundled picture instead.")
    except (OSError, ValueError, http.client.HTTPException) as error:
        print(f"{_why(error)}: here is the bundled picture instead.")
    return fallback


def _picture(fallback: np.ndarray | str) -> np.ndarray:
    return sample_photo(fallback) if isinstance(fallback, str) else fallback


def _stage(
    button: widgets.Widget, fallback: np.ndarray | str, hint: str
) -> tuple[Callable[[], np.ndarray], Callable[[np.ndarray], None], Callable[[str], None]]:
    """Show a button with a line of text and room for a small preview; return (current picture, show, say)."""
    picture = _picture(fallback)
    line = widgets.HTML()
    preview = widgets.Image(format="png", width=200, layout={"display": "none"})

    def current() -> np.ndarray:
        return picture

    def show(new: np.ndarray) -> None:
        nonlocal picture
        picture = new
        small = Image.fromarray(new)
        small.thumbnail((400, 400))  # the browser gets a small copy
        buffer = io.BytesIO()
        small.save(buffer, format="png")
        preview.value = buffer.getvalue()
        preview.layout.display = None

    def say(text: str) -> None:
        line.value = html.escape(text)

    say(hint)
    display(widgets.VBox([button, line, preview]))
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
    """Return what a server sends for `url`, within the limits of time and size."""
    if not url.strip():
        raise ImageError("No address was given.")
    if not url.strip().startswith(("http://", "https://")):
        raise ImageError(f"The address “{url}” does not start with http:// or https://.")
    # Addresses copied from a browser may hold umlauts and blanks, which the protocol does not allow.
    address = urllib.parse.quote(url.strip(), safe=":/?#[]@!$&'()*+,;=%~")
    # Some servers refuse Python's own name.
    request = urllib.request.Request(address, headers={"User-Agent": "course-utils (image recognition course)"})
    end = time.monotonic() + _LONGEST
    data = bytearray()
    with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
        while piece := answer.read1(65536):
            data += piece
            if len(data) > _MOST_BYTES:
                raise ImageError(f"“{url}” is larger than {_MOST_BYTES // 1_000_000} MB.")
            if time.monotonic() > end:
                raise TimeoutError
    return bytes(data)


def _why(error: Exception) -> str:
    """Say in plain words why a download failed; the same words on every system."""
    if isinstance(error, urllib.error.HTTPError):
        return f"The server refused with status {error.code}"
    if isinstance(error, TimeoutError) or isinstance(getattr(error, "reason", None), TimeoutError):
        return "The server took too long"
    return "The server cannot be reached"
