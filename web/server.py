"""A site on this machine: HTTP/1.1 with byte ranges (RFC 9110, 14), for its own browsers only."""

import re
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from ncodec.errors import NcodecError
from ncodec.web.modules import PAGE
from ncodec.web.site import Site, name_of, open_content, size_of, type_of

HOST = "127.0.0.1"
IDLE_S = 30.0
"""After which a connection that nothing comes from is closed."""
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.A)
_CHUNK_BYTES = 1 << 16


class SiteServer(ThreadingHTTPServer):
    """Serves a site on the loopback interface; its files are read as they are asked for.

    port  0 for any that is free

    Raises NcodecError for a port that is taken.
    """

    daemon_threads = True

    def __init__(self, site: Site, port: int = 0) -> None:
        try:
            super().__init__((HOST, port), partial(_Handler, site))
        except OSError as error:
            raise NcodecError(f"port {port}: cannot be used: {error.strerror}") from None

    @property
    def url(self) -> str:
        """Address of the page."""
        return f"http://{HOST}:{self.server_port}/"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = IDLE_S

    def __init__(self, site: Site, *args: Any) -> None:
        self._site = site
        super().__init__(*args)

    def do_GET(self) -> None:
        """Answer with a file, or with a range of it."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """Answer without the file."""
        self._answer(with_body=False)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Print nothing."""

    def _answer(self, *, with_body: bool) -> None:
        # Another host's page could have its name lead here, to read what is served.
        if self.headers.get("Host", "").rsplit(":", 1)[0] not in (HOST, "localhost"):
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST)
            return
        # Only names of the site are known: none leads to another place.
        name = name_of(urlsplit(self.path).path.removeprefix("/")) or PAGE
        content = self._site.contents.get(name)
        if content is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        try:
            size = size_of(content)
            stream = open_content(content)
        except OSError:  # it was there when the site was made
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        with stream:
            try:
                self._send(type_of(name), stream, size, with_body=with_body)
            except ConnectionError:
                self.close_connection = True

    def _send(self, media_type: str, stream: BinaryIO, size: int, *, with_body: bool) -> None:
        asked = self.headers.get("Range")
        found = asked_range(asked, size) if asked else None
        start, end = found or (0, size)
        if start >= end and found:
            self.send_response(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
            self.send_header("Content-Range", f"bytes */{size}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(HTTPStatus.PARTIAL_CONTENT if found else HTTPStatus.OK)
        if found:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
        self.send_header("Content-Length", str(end - start))
        self.send_header("Content-Type", media_type)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if with_body:
            self._send_range(stream, start, end)

    def _send_range(self, stream: BinaryIO, start: int, end: int) -> None:
        stream.seek(start)
        self.connection.settimeout(None)  # a page that plays takes it as slowly as it likes
        while start < end and (chunk := stream.read(min(end - start, _CHUNK_BYTES))):
            self.wfile.write(chunk)
            start += len(chunk)
        self.connection.settimeout(IDLE_S)
        if start < end:  # the file has become shorter
            self.close_connection = True


def asked_range(header: str, size: int) -> tuple[int, int] | None:
    """Return [start, end) of what a Range header asks for, start >= end where that is nothing.

    None for a header that is to be ignored: several ranges, or of another form.
    """
    match = _RANGE.fullmatch(header.strip())
    if match is None or not any(match.groups()):
        return None
    first, last = match.groups()
    if not first:
        return max(0, size - int(last)), size
    if last and int(last) < int(first):
        return None
    return int(first), min(size, int(last) + 1) if last else size
