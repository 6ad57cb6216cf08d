"""A file fetched over HTTP: taken up again after a break, limited in size, checked by SHA-256."""

import contextlib
import hashlib
import http.client
import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from email.message import Message
from http import HTTPStatus
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from ncodec.errors import DownloadError, NcodecError, UsageError

TIMEOUT_S = 30  # to connect, and between one piece and the next
MAX_BYTES = 1 << 30  # of a file whose size is not known beforehand
_BLOCK_BYTES = 1 << 16
_GOES_ON = "the same command goes on from there"

Progress = Callable[[int, int | None], None]
"""Called with the bytes that are there and those of the whole file, None if not known."""


def fetch(
    url: str, part: Path, *, n_bytes: int = 0, sha256: str = "",
    progress: Progress = lambda done, total: None,
) -> str:  # fmt: skip
    """Fetch a file into `part`, or the rest of it if `part` is there; return its SHA-256.

    n_bytes  size of the file, 0 if not known
    sha256   its digest or the first digits of it; empty if not known

    What was fetched before a connection broke stays; a file that is not the expected one is
    deleted. Raises DownloadError, UsageError for a bad address.
    """
    check_address(url)
    with _writing(part):
        part.parent.mkdir(parents=True, exist_ok=True)
        if _size(part) > (n_bytes or MAX_BYTES):
            discard(part)
    if not n_bytes or _size(part) < n_bytes:
        start, version = _left_over(url, part)
        if not (version or sha256):  # nothing would tell if the rest is of another file
            start = 0
        _transfer(url, part, start, version, n_bytes, progress)
    with part.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if not found.startswith(sha256.lower()):
        discard(part)
        wanted = sha256 if len(sha256) == len(found) else f"one that starts with {sha256}"
        raise DownloadError(
            f"{url}: SHA-256 is {found}, expected {wanted}; the file was deleted: it is another "
            "one, or was changed between two attempts"
        )
    return found


def discard(part: Path) -> None:
    """Delete a fetched file, and what was noted of it."""
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)


def check_address(url: str) -> None:
    """Raise UsageError unless this is an address that `fetch` takes."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("https", "http") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good or not url.isascii() or any(char <= " " for char in url):
        raise UsageError(f"{url!r}: expected an https:// address")


def _transfer(
    url: str, part: Path, start: int, version: str, n_bytes: int, progress: Progress
) -> None:
    """Fetch what comes after byte `start` of that version of a file."""
    response = _ask(url, start, version)
    if response is None:  # nothing is missing
        return
    with response:
        if response.status != HTTPStatus.PARTIAL_CONTENT:
            start = 0  # from the beginning: the server cannot do parts, or the file has changed
        total = _total(url, response.headers, start)
        if total and (total != n_bytes if n_bytes else total > MAX_BYTES):
            raise _wrong_size(url, f"{total} bytes", n_bytes)
        done, limit = start, n_bytes or MAX_BYTES
        with _writing(part), part.open("ab" if start else "wb") as stream:
            if not start:
                note = {"url": url, "version": _version(response.headers)}
                _note(part).write_text(json.dumps(note))
            progress(done, total or n_bytes or None)
            for block in _blocks(url, response):
                done += len(block)
                if done > limit:
                    discard(part)
                    raise _wrong_size(url, f"more than {limit} bytes", n_bytes)
                stream.write(block)
                progress(done, total or n_bytes or None)
    if done < (total or n_bytes):
        raise DownloadError(
            f"{url}: the connection broke after {done} of {total or n_bytes} bytes; {_GOES_ON}"
        )


def _wrong_size(url: str, size: str, n_bytes: int) -> DownloadError:
    wanted = f"expected {n_bytes}" if n_bytes else f"the limit is {MAX_BYTES}"
    return DownloadError(f"{url}: {size}, {wanted}")


def _total(url: str, headers: Message, start: int) -> int:
    """Return the size of the whole file, 0 if the server does not say."""
    if start:
        sent = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", ""))
        if sent is None or int(sent[1]) != start:
            raise DownloadError(f"{url}: the server sent another part than it was asked for")
    length = headers.get("Content-Length", "")
    return start + int(length) if length.isdecimal() else 0


def _ask(url: str, start: int, version: str) -> http.client.HTTPResponse | None:
    """Ask for a file from byte `start` on. Return None if it ends there."""
    request = urllib.request.Request(url, headers={"User-Agent": "ncodec"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    if start and version:
        request.add_header("If-Range", version)
    try:
        with _network(url):
            return urllib.request.build_opener(_Redirects).open(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        with error:
            if error.code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or not start:
                raise DownloadError(
                    f"{url}: the server answers {error.code} {error.reason}".rstrip()
                ) from None
            if error.headers.get("Content-Range") == f"bytes */{start}":
                return None
    return _ask(url, 0, "")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows no redirection to what is neither https nor, from http, http."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str,
        headers: Any, newurl: str,
    ) -> urllib.request.Request | None:  # fmt: skip
        scheme = urlsplit(newurl).scheme
        if scheme != "https" and (scheme, req.type) != ("http", "http"):
            raise DownloadError(f"{req.full_url}: leads to {newurl}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _blocks(url: str, response: http.client.HTTPResponse) -> Iterator[bytes]:
    while True:
        with _network(url, f"; {_GOES_ON}"):
            block = response.read1(_BLOCK_BYTES)
        if not block:
            return
        yield block


@contextlib.contextmanager
def _network(url: str, advice: str = "") -> Iterator[None]:
    """Turn what can happen to a connection into DownloadError; HTTPError passes."""
    try:
        yield
    except urllib.error.HTTPError:
        raise
    except (OSError, ValueError, http.client.HTTPException) as error:
        cause = getattr(error, "reason", error)
        why = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
        raise DownloadError(f"{url}: {why}{advice}") from None


@contextlib.contextmanager
def _writing(part: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise NcodecError(
            f"{part}: cannot be written: {error.strerror or error}; {_GOES_ON}"
        ) from None


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _note(part: Path) -> Path:
    """Return the file that keeps where a part is from, and its version there."""
    return part.with_name(f"{part.name}.json")


def _version(headers: Message) -> str:
    """Return what tells one version of a file from another, empty if the server says nothing."""
    tag = headers.get("ETag", "")
    if tag and not tag.startswith("W/"):  # a weak one does not promise the same bytes
        return tag
    return headers.get("Last-Modified", "")


def _left_over(url: str, part: Path) -> tuple[int, str]:
    """Return from which byte to go on, and which version of the file the part is of."""
    try:
        note = json.loads(_note(part).read_text())
        if note["url"] == url:
            return _size(part), str(note["version"])
    except (OSError, KeyError, TypeError, ValueError):
        pass  # none, or from a process that was killed
    return 0, ""
