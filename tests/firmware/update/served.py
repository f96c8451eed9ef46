"""An HTTP server in a thread, for stand-ins of the servers that updates come from."""

import http.server
import threading


class Served:
    """What `get(request)` and `take(request)` (POST, PUT) of a subclass answer, on a free port while it is entered; by
    TLS with a `context`."""

    def __init__(self, context=None):
        served = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                served.get(self)

            def do_POST(self):
                served.take(self)

            do_PUT = do_POST

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *where: None  # whoever breaks a connection off is what tests are about
        if context is not None:
            self.server.socket = context.wrap_socket(
                self.server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.scheme = "http" if context is None else "https"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.server.shutdown()
        self.server.server_close()
