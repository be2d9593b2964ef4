"""`harness report --serve`: the page on this machine, refreshed as rows arrive. Loopback only,
read-only."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from harness.errors import BadInput

HOST = "127.0.0.1"
_NAMES = ("127.0.0.1", "localhost", "::1")


class Server(ThreadingHTTPServer):
    """Answers `/` with the page and `/version` with a text that changes when the page does.
    Serves nothing else."""

    daemon_threads = True

    def __init__(self, page: Callable[[str], str], version: Callable[[], str], port: int):
        """`page` is called once per version, with it. `port` 0 picks a free one. Raises `BadInput`
        if the port isn't available."""
        self._page, self.version = page, version
        self._made: tuple[str, bytes] | None = None
        self._making = threading.Lock()
        try:
            super().__init__((HOST, port), _Handler)
        except (OSError, OverflowError) as error:
            raise BadInput(
                f"--port {port} isn't available ({getattr(error, 'strerror', None) or error}): give"
                " another, or 0 for a free one."
            ) from error

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_address[1]}/"

    def page(self) -> bytes:
        """The page of the current version."""
        with self._making:
            version = self.version()
            if self._made is None or self._made[0] != version:
                self._made = version, self._page(version).encode()
            return self._made[1]


class _Handler(BaseHTTPRequestHandler):
    server: Server
    server_version = "vpt-harness"
    sys_version = ""
    timeout = 30

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, body: bool) -> None:
        path = urlsplit(self.path).path
        # another site's name that resolves to this machine
        if urlsplit(f"//{self.headers.get('Host', '')}").hostname not in _NAMES:
            return self._send(
                403, "text/plain", b"This page is only served to this machine.\n", body
            )
        try:
            if path in ("/", "/index.html"):
                return self._send(200, "text/html", self.server.page(), body)
            if path == "/version":
                return self._send(200, "text/plain", self.server.version().encode(), body)
        except BadInput as error:
            return self._send(503, "text/plain", f"{error}\n".encode(), body)
        self._send(404, "text/plain", b"Not found: only / is served.\n", body)

    def _send(self, status: int, kind: str, content: bytes, body: bool) -> None:
        self.send_response(status)
        for name, value in (
            ("Content-Type", f"{kind}; charset=utf-8"),
            ("Content-Length", str(len(content))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
        ):
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Logs nothing: the terminal belongs to the user."""
