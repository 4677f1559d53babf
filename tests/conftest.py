"""Fixtures that several files of tests use."""

import contextlib
import subprocess
import time

import pytest
from chromium import CHROMIUM, WAIT_S


@pytest.fixture(scope="session")
def port(tmp_path_factory):
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
