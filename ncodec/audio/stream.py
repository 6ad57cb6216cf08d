"""Files, pipes and descriptors as bytes."""

import contextlib
import io
import os
from typing import BinaryIO

from ncodec.errors import AudioError
from ncodec.formats.streams import Readable


def copy_bytes(file: BinaryIO, n: int, to: BinaryIO) -> None:
    """Copy `n` bytes, or as many as there are."""
    while n > 0 and (part := file.read(min(n, 1 << 20))):
        to.write(part)
        n -= len(part)


class ForwardReader:
    """Reads a stream that cannot seek and may give fewer bytes than asked for.

    Attributes:
        position: bytes read so far.
    """

    def __init__(self, stream: Readable, name: str) -> None:
        self.name = name
        self.position = 0
        self._stream = stream

    def read(self, n: int) -> bytes:
        """Return `n` bytes; fewer only at the end of the stream."""
        parts: list[bytes] = []
        left = n
        while left > 0:
            part = self._stream.read(min(left, 1 << 20))
            if part is None:
                raise AudioError(f"{self.name}: no input yet: a non-blocking stream cannot be read")
            if not part:
                break
            parts.append(part)
            left -= len(part)
        self.position += n - left
        return b"".join(parts)

    def skip(self, n: int) -> None:
        """Read `n` bytes, or to the end of the stream."""
        while n > 0 and (part := self.read(min(n, 1 << 20))):
            n -= len(part)


def stream_name(stream: object) -> str:
    """Return what errors call a stream."""
    name = getattr(stream, "name", None)
    return {"<stdin>": "standard input", "<stdout>": "standard output"}.get(
        str(name), name if isinstance(name, str) else "stream"
    )


def is_disk_file(stream: BinaryIO) -> bool:
    """Whether libsndfile can read the descriptor of `stream`."""
    # A gzip.GzipFile, say, has a descriptor too, of something else than what it reads.
    return stream.seekable() and isinstance(getattr(stream, "raw", stream), io.FileIO)


def lend(file: BinaryIO, stack: contextlib.ExitStack) -> int:
    """Return the descriptor, at its start, until `stack` is left.

    libsndfile is given that rather than the object, as soundfile prints what its callbacks raise.
    Afterwards it is put back to the place that the object's buffer relies on.
    """
    place = os.lseek(file.fileno(), 0, os.SEEK_CUR)

    def put_back() -> None:
        if not file.closed:
            os.lseek(file.fileno(), place, os.SEEK_SET)

    stack.callback(put_back)
    os.lseek(file.fileno(), 0, os.SEEK_SET)
    return file.fileno()


def libsndfile_path(path: str | os.PathLike[str]) -> str | bytes:
    """Return what to call a path towards libsndfile."""
    # bytes, because soundfile cannot encode a name that is not valid UTF-8
    return os.fsencode(path) if os.name == "posix" else os.fspath(path)
