"""A server on this machine for tests of downloads."""

import contextlib
import http.server
import threading


@contextlib.contextmanager
def serving(answer, note):
    """Run a server on this machine; yield its address and a list of what `note` says of each request."""
    asked, over = [], threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(note(self))
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
