"""A web server on this machine for the player's page: files in ranges, and what was asked for."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

TYPES = {".html": "text/html", ".js": "text/javascript", ".wasm": "application/wasm"}
ROOT = Path(__file__).parents[2]


class PageServer:
    """Hands out a clone, and files beside its page.

    Attributes:
        beside: files of the folder of the page, by their names.
        has_ranges: whether parts of files can be asked for.
        sent: bytes of each path that were sent so far.
        url: of the page.
    """

    def __init__(self) -> None:
        self.beside: dict[str, bytes] = {}
        self.has_ranges = True
        self.sent: dict[str, int] = {}
        self.url = ""

    def content(self, path: str) -> bytes | None:
        """Return the bytes of a path."""
        name = path.removeprefix("/web/")
        if name in self.beside:
            return self.beside[name]
        file = (ROOT / (path.lstrip("/") + ("index.html" if path.endswith("/") else ""))).resolve()
        return file.read_bytes() if file.is_relative_to(ROOT) and file.is_file() else None


@contextmanager
def serve() -> Iterator[PageServer]:
    """Serve until the block ends."""
    page = PageServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            content = page.content(path)
            if content is None:
                self.send_error(404)
                return
            asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            size = len(content)
            if asked and page.has_ranges:
                first, last = int(asked[1]), min(int(asked[2]), size - 1)
                if first >= size:
                    self.send_error(416)
                    return
                content = content[first : last + 1]
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
            else:
                self.send_response(200)
            suffix = ".html" if path.endswith("/") else Path(path).suffix
            self.send_header("Content-Type", TYPES.get(suffix, "application/octet-stream"))
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            page.sent[path] = page.sent.get(path, 0) + len(content)
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    page.url = f"http://127.0.0.1:{server.server_port}/web/"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield page
    finally:
        server.shutdown()
        server.server_close()
