"""A web server on this machine that hands out one file, as well or as badly as it is told to."""

import contextlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Site:
    """What is served, and what was asked."""

    content: bytes
    tag: str = '"one"'  # ETag, none if empty
    ranges: bool = True  # honours Range
    break_after: int | None = None  # bytes of a body after which the connection breaks
    says_length: bool = True
    status: int = 0  # answers this alone
    location: str = ""  # with a redirection
    url: str = ""
    asked: list[dict[str, str]] = field(default_factory=list)  # headers of each request


@contextlib.contextmanager
def serving(site: Site) -> Iterator[Site]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.asked.append(dict(self.headers))
            if site.status:
                self.send_response(site.status)
                if site.location:
                    self.send_header("Location", site.location)
                self.end_headers()
                return
            body, start = site.content, self.first_byte()
            if start is not None and start >= len(body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(body)}")
                self.end_headers()
                return
            self.send_response(200 if start is None else 206)
            if start is not None:
                end = len(body) - 1
                self.send_header("Content-Range", f"bytes {start}-{end}/{len(body)}")
                body = body[start:]
            if site.tag:
                self.send_header("ETag", site.tag)
            if site.says_length:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: site.break_after])

        def first_byte(self) -> int | None:
            asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            if asked is None or not site.ranges:
                return None
            if self.headers.get("If-Range", site.tag) != site.tag:
                return None
            return int(asked[1])

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    site.url = f"http://127.0.0.1:{server.server_address[1]}/file.th"
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
