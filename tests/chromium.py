"""A headless Chromium for the tests: tabs that are driven through Chrome's DevTools protocol.

Where no Chromium is found, tests that need one are skipped by name (Debian: ``apt-get install chromium``).
"""

import base64
import contextlib
import itertools
import json
import shutil
import subprocess
import time

import httpx
import pytest

WAIT_S = 600
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
CHROMIUM = next((found for name in _NAMES if (found := shutil.which(name))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this computer: nothing is tried in one")


class Tab:
    """One visitor with cookies of their own, driven through Chrome's DevTools protocol."""

    def __init__(self, port, address, ready, width=1100, height=800):
        websocket = pytest.importorskip("websocket")
        version = httpx.get(f"http://127.0.0.1:{port}/json/version").json()
        browser = websocket.create_connection(version["webSocketDebuggerUrl"], suppress_origin=True, timeout=WAIT_S)
        self._numbers, self._connection, self.requests = itertools.count(1), browser, []
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        browser.close()
        page = f"ws://127.0.0.1:{port}/devtools/page/{target}"
        self._connection = websocket.create_connection(page, suppress_origin=True, timeout=WAIT_S)
        self.call("Network.enable")
        self.call("Page.enable")
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.call("Page.navigate", url=address)
        self.wait_for(ready)

    def call(self, method, **parameters):
        """Send a command and return its result; requests of the page that are seen meanwhile are kept."""
        number = next(self._numbers)
        self._connection.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._connection.recv())
            if message.get("method") == "Network.requestWillBeSent":
                self.requests.append(message["params"]["request"]["url"])
            if message.get("id") == number:
                if method == "Runtime.evaluate" and "error" in message:  # asked while one page gives way to the next
                    return {"result": {}}
                assert "error" not in message, message
                return message["result"]

    def ask(self, expression):
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def wait_for(self, expression):
        """Wait until an expression is true in the page, and return its value."""
        end = time.monotonic() + WAIT_S
        while not (value := self.ask(expression)):
            assert time.monotonic() < end, f"not within {WAIT_S} s: {expression}\n{self.ask('document.body.innerText')}"
            time.sleep(0.1)
        return value

    def press(self, key):
        codes = {"Tab": 9, "Enter": 13}
        common = {"key": key, "code": key, "windowsVirtualKeyCode": codes[key]}
        self.call("Input.dispatchKeyEvent", type="keyDown", text="\r" if key == "Enter" else "", **common)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def screenshot(self):
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])


@pytest.fixture(scope="module", name="port")
def chromium_port(tmp_path_factory):
    """A Chromium that can reach this computer only; return the port of its DevTools."""
    profile = tmp_path_factory.mktemp("profile")
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-port=0"]
    options += ["--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1", "--disable-background-networking"]
    options += [f"--user-data-dir={profile}", "about:blank"]
    with subprocess.Popen([CHROMIUM, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        file, end = profile / "DevToolsActivePort", time.monotonic() + WAIT_S
        while not (file.is_file() and file.read_text(encoding="utf-8").strip()):
            assert time.monotonic() < end and running.poll() is None, "Chromium does not start"
            time.sleep(0.1)
        yield int(file.read_text(encoding="utf-8").splitlines()[0])
        running.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(10)
        running.kill()
