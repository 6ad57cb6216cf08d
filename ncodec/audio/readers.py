"""What turns bytes into samples: WAV from a pipe here, all else by libsndfile."""

import os
import re
from collections.abc import Sequence
from typing import Any, Protocol, cast

import numpy as np

from ncodec.audio.base import TAGS, Audio
from ncodec.audio.metadata import Metadata, storable
from ncodec.audio.mpeg import find_frame
from ncodec.audio.stderr import Caught
from ncodec.audio.stream import ForwardReader
from ncodec.audio.wav import WavHeader, behind_audio
from ncodec.errors import AudioError

_NO_COUNT = 1 << 62  # libsndfile's way to say that a FLAC does not know its length


# What libsndfile says of a file that is there, where no decoder takes it.
_NO_REASON = re.compile(": (File does not exist or is not a regular file|Format not recognised).*")


class AudioReader(Protocol):
    """Reads audio from start to end."""

    sample_rate_hz: int
    n_channels: int
    n_samples: int | None
    metadata: Metadata  # that this finds by itself
    problem: str  # why reading stopped, if not at the end

    @property
    def remarks(self) -> Sequence[str]:
        """What else is odd about what was read."""
        ...

    def read(self, n: int) -> Audio:
        """Return [T, C]; T < n only at the end."""
        ...

    def close(self) -> None:
        """Let go of what was opened."""
        ...


class WavPipe:
    """Decodes a WAV stream as it comes."""

    def __init__(self, reader: ForwardReader, header: WavHeader) -> None:
        self.sample_rate_hz = header.sample_rate_hz
        self.n_channels = header.n_channels
        self.metadata = header.metadata
        self.problem = ""
        self.remarks: list[str] = []
        self.n_samples: int | None = None
        if header.data_bytes is not None:
            self.n_samples = header.data_bytes // header.frame_bytes
        self._header = header
        self._reader = reader
        self._n_read = 0

    def read(self, n: int) -> Audio:
        """Return [T, C]; T < n only at the end."""
        if self.n_samples is not None:
            n = min(n, self.n_samples - self._n_read)
        frame_bytes = self._header.frame_bytes
        raw = self._reader.read(n * frame_bytes)
        if odd_bytes := len(raw) % frame_bytes:
            self.remarks.append(f"its last {odd_bytes} bytes are no whole sample of all channels")
        raw = raw[: len(raw) // frame_bytes * frame_bytes]
        self._n_read += len(raw) // frame_bytes
        if self._n_read == self.n_samples:
            self._reader.skip(self._n_read * frame_bytes % 2)
            found, odd = behind_audio(self._reader)  # to its end: spare the writer a broken pipe
            self.metadata = self.metadata.merged(found)
            self.remarks += [odd] if odd else []
        return _from_bytes(raw, self._header).reshape(-1, self.n_channels)

    def close(self) -> None:
        """Leave the stream open: it was given."""


def _from_bytes(raw: bytes, header: WavHeader) -> Audio:
    if header.is_float:
        with np.errstate(over="ignore"):  # an infinity is reported with its place
            return np.frombuffer(raw, f"<f{header.sample_bytes}").astype(np.float32)
    if header.sample_bytes == 1:
        return np.frombuffer(raw, np.uint8).astype(np.float32) / np.float32(128) - np.float32(1)
    if header.sample_bytes == 3:
        wide = np.zeros((len(raw) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(raw, np.uint8).reshape(-1, 3)
        return wide.view("<i4")[:, 0].astype(np.float32) / np.float32(2**31)
    scale = np.float32(2 ** (8 * header.sample_bytes - 1))
    return np.frombuffer(raw, f"<i{header.sample_bytes}").astype(np.float32) / scale


class SndFile:
    """Decodes what libsndfile reads."""

    def __init__(self, file: str | bytes | int, name: str) -> None:
        import soundfile

        class Forward(soundfile.SoundFile):
            """Keeps soundfile from seeking after every read, which upsets MP3, FLAC and Ogg."""

            def seekable(self) -> bool:
                return False

        self._error = soundfile.LibsndfileError
        self._stderr = Caught()
        try:
            with self._stderr.caught():
                # Any: soundfile's stub of `file` does not know bytes.
                self._file = Forward(cast("Any", file), closefd=False)
        except TypeError:
            raise AudioError(f"{name}: raw audio has no header to say what it is") from None
        except soundfile.LibsndfileError as error:
            why = error.error_string.strip(" .:") or f"error {error.code}"
            why = _NO_REASON.sub("", f": {why}")
            raise AudioError(f"{name}: not an audio file that libsndfile reads{why}") from error
        self.sample_rate_hz: int = self._file.samplerate
        self.n_channels: int = self._file.channels
        self.format: str = self._file.format
        self.subtype: str = self._file.subtype
        self.n_samples: int | None = self._file.frames if self._file.frames < _NO_COUNT else None
        written = {key.upper(): text for key, text in self._file.copy_metadata().items()}
        self.metadata = storable((key, written[key]) for key in TAGS if key in written)
        self.problem = ""
        self._is_mpeg = self.subtype.startswith("MPEG_LAYER")

    @property
    def remarks(self) -> list[str]:
        """What the decoder went past, so far."""
        return self._stderr.remarks

    def read(self, n: int) -> Audio:
        """Return [T, C]; T < n only at the end, or if there is a problem."""
        if not self._is_mpeg:
            return self._read(n)
        with self._stderr.caught():
            return self._read(n)

    def _read(self, n: int) -> Audio:
        # On an error soundfile drops what libsndfile had decoded; NaN shows how far that goes.
        block = np.full((n, self.n_channels), np.nan, np.float32)
        try:
            return block[: len(self._file.read(out=block))]
        except self._error as error:
            self.problem = error.error_string.strip(" .:") or f"libsndfile error {error.code}"
            blank = np.isnan(block).all(axis=1)
            return block[: int(blank.argmax()) if blank.any() else n]

    def close(self) -> None:
        """Close what libsndfile opened."""
        self._file.close()


class UncountedMpeg(SndFile):
    """Decodes what mpeg.copy_behind_silence made: an MP3 whose length libsndfile can only guess."""

    def __init__(self, descriptor: int, name: str, n_silent: int) -> None:
        super().__init__(descriptor, name)
        self._descriptor = descriptor
        self._n_left = self._file.frames - n_silent
        self.n_samples = None
        super().read(n_silent)

    def read(self, n: int) -> Audio:
        """Return [T, C]; T < n only at the end, or if there is a problem."""
        block = super().read(n)
        self._n_left -= len(block)
        if self._n_left <= 0:
            self.problem = "no header says how long it is, and libsndfile's guess is too short"
        elif len(block) < n and not self.problem:
            at = os.lseek(self._descriptor, 0, os.SEEK_CUR)  # just after what it could not read
            with os.fdopen(os.dup(self._descriptor), "rb") as file:
                if find_frame(file, at - 4) is not None:
                    self.problem = "MPEG audio of another kind or after damage follows"
        return block
