"""A server on this machine for tests of what is fetched, and the ways in which it answers."""

import contextlib
import http.server
import socket
import threading

NOWHERE = "http://127.0.0.1:9"  # the discard port: nobody listens


@contextlib.contextmanager
def serving(answer):
    """Run a server; yield its address and a list of (path, range asked for) of the requests.

    `answer` gets the request handler and an event that is set when the server ends.
    """
    asked, over = [], threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, self.headers.get("Range")))
            with contextlib.suppress(OSError):  # the client may hang up
                answer(self, over)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.block_on_close = True, False
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        over.set()
        server.shutdown()
        server.server_close()


def begin(handler, length=None, status=200, **headers):
    """Send the head of an answer, with or without an announced length."""
    handler.send_response(status)
    if length is not None:
        handler.send_header("Content-Length", str(length))
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()


def sends(content, status=200, length=None):
    """Answer with `content`, whatever length is announced."""

    def answer(handler, over):
        begin(handler, len(content) if length is None else length, status)
        handler.wfile.write(content)

    return answer


def says_nothing(handler, over):
    """Take the request and keep silent."""
    over.wait(120)


def never_ends(handler, over):
    """Send zeros until the client hangs up."""
    begin(handler)
    while not over.is_set():
        handler.wfile.write(bytes(1 << 16))


def drips(handler, over):
    """Send a byte now and then."""
    begin(handler, 10**6)
    while not over.wait(0.05):
        handler.wfile.write(b"x")


def breaks_off(content, after, times=1, ranges=True):
    """Answer with `after` bytes and a broken connection `times` times, then with all that is asked for."""
    left = [times]

    def answer(handler, over):
        asked = handler.headers.get("Range")
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and ranges else 0
        rest = content[start:]
        extra = {"Content_Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
        begin(handler, len(rest), 206 if start else 200, **extra)
        left[0] -= 1
        handler.wfile.write(rest[:after] if left[0] >= 0 else rest)
        handler.wfile.flush()
        if left[0] >= 0:
            handler.connection.shutdown(socket.SHUT_RDWR)

    return answer
