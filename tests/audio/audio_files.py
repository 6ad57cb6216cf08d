"""Audio in memory and on disk for the tests of ncodec.audio."""

import io
import os
import tempfile
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

RATE_HZ = 24000
posix_only = pytest.mark.skipif(os.name != "posix", reason="needs FIFOs and file modes")


def noise(n_channels: int, n: int, level: float = 0.2) -> NDArray[np.float32]:
    rng = np.random.default_rng(n_channels * 1000 + n)
    return (level * rng.uniform(-1, 1, (n_channels, n))).astype(np.float32)


class Pipe(io.RawIOBase):
    """A stream that cannot seek and gives at most `most` bytes a time."""

    def __init__(self, content: bytes = b"", most: int = 1 << 30) -> None:
        self.content = io.BytesIO(content)
        self.most = most
        self.largest = 0

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def read(self, size: int = -1, /) -> bytes:
        assert size >= 0, "reads of unknown size are not bounded"
        self.largest = max(self.largest, size)
        return self.content.read(min(size, self.most))

    def write(self, raw: Any, /) -> int:
        return self.content.write(raw)


def wav_bytes(wav: NDArray[np.float32], subtype: str = "PCM_16", container: str = "WAV") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, wav.T, RATE_HZ, subtype=subtype, format=container)
    return file.getvalue()


def on_disk(content: bytes) -> BinaryIO:
    file = tempfile.TemporaryFile()  # noqa: SIM115
    file.write(content)
    file.seek(0)
    return cast("BinaryIO", file)


def libsndfile_reads(content: bytes) -> NDArray[np.float32]:
    return soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)[0].T


def in_dir(folder: Path, name: str, content: bytes) -> Path:
    (folder / name).write_bytes(content)
    return folder / name
