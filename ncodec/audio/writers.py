"""What turns samples into bytes: WAV here, all else by libsndfile."""

import contextlib
import dataclasses
from collections.abc import Collection
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from ncodec.audio.base import PIECE, TAGS, Audio
from ncodec.audio.metadata import NOTHING, Metadata
from ncodec.audio.stream import libsndfile_path
from ncodec.audio.tag_files import write_metadata
from ncodec.audio.tags import joined
from ncodec.audio.wav import INFO_TAGS, WavHeader, pack_wav_header
from ncodec.errors import AudioError
from ncodec.formats.ncx import Tags


class AudioWriter(Protocol):
    """Writes audio from start to end."""

    def write(self, block: Audio) -> None:
        """Take [T, C], within +-1 where the subtype needs it."""
        ...

    def close(self) -> Metadata:
        """Finish the file; return the tags and pictures that it has no room for."""
        ...


def _left_justified(block: Audio, n_bits: int) -> NDArray[np.int32]:
    """Round to the nearest of 2^n_bits levels, in the upper bits. libsndfile would round down."""
    full = 1 << (n_bits - 1)
    wide = block.astype(np.float64) if n_bits > 24 else block
    levels = np.clip(np.rint(wide * full).astype(np.int64), -full, full - 1)
    return (levels << (32 - n_bits)).astype(np.int32)


class WavWriter:
    """Writes WAV, or RF64 if it is too long for that; a file may learn its length at the end."""

    def __init__(self, file: BinaryIO, header: WavHeader, *, seeks: bool, rf64: bool) -> None:
        self._file = file
        self._header = header
        self._rf64 = rf64
        self._n_bytes = 0
        self._reserve = seeks and header.data_bytes is None
        self._is_stream = not seeks
        self._start = pack_wav_header(header, reserve=self._reserve, rf64=rf64)
        file.write(self._start)
        if self._is_stream:  # someone may be listening
            file.flush()

    def write(self, block: Audio) -> None:
        """Take [T, C], within +-1 if of integers."""
        width = self._header.sample_bytes
        if self._header.is_float:
            raw = block.astype(f"<f{width}").tobytes()
        elif width == 1:
            raw = ((_left_justified(block, 8) >> 24) + 128).astype(np.uint8).tobytes()
        else:
            ints = _left_justified(block, 8 * width).astype("<i4").reshape(-1, 1)
            raw = ints.view(np.uint8)[:, 4 - width :].tobytes()
        self._file.write(raw)
        if self._is_stream:
            self._file.flush()
        self._n_bytes += len(raw)

    def close(self) -> Metadata:
        """Write what follows the audio, and the length."""
        self._file.write(b"\0" * (self._n_bytes % 2))
        if self._reserve:
            header = dataclasses.replace(self._header, data_bytes=self._n_bytes)
            self._start = pack_wav_header(header, reserve=True, rf64=self._rf64)
            self._file.seek(0)
            self._file.write(self._start)
        self._file.flush()
        if not (self._header.needs_id3 and self._start.startswith(b"RF64")):
            return NOTHING
        given = self._header.metadata
        return dataclasses.replace(given, tags=_without(given.tags, INFO_TAGS))


def _without(tags: Tags, keys: Collection[str]) -> Tags:
    return tuple(tag for tag in tags if tag[0].upper() not in keys)


class SndFileWriter:
    """Writes what libsndfile writes, to a path; copies it to `stream` at the end, if given."""

    def __init__(
        self, path: Path, stream: BinaryIO | None, rate: int, n_channels: int,
        container: str, subtype: str, metadata: Metadata,
    ) -> None:  # fmt: skip
        import soundfile

        self._path, self._stream = path, stream
        self._error = soundfile.LibsndfileError
        self._info = soundfile.info
        self._n_bits = int(subtype[-2:].lstrip("SU")) if subtype[:4] in ("PCM_", "ALAC") else 0
        self._is_double = subtype == "DOUBLE"
        try:
            # Any: soundfile's stub of `file` does not know bytes.
            file = cast("Any", libsndfile_path(path))
            self._file = soundfile.SoundFile(file, "w", rate, n_channels, subtype, None, container)
        except soundfile.LibsndfileError as error:
            raise AudioError(
                f"libsndfile does not write {container} {subtype} of {n_channels} channels at "
                f"{rate} Hz: {error.error_string.strip(' .') or error.code}"
            ) from error
        self._metadata, self._kind = metadata, subtype if container == "OGG" else container
        if self._kind == "CAF":
            for key, text in joined(metadata.tags).items():
                if key in TAGS:
                    setattr(self._file, key.lower(), text)
        self._n_written = 0

    def write(self, block: Audio) -> None:
        """Take [T, C], within +-1 where the subtype needs it."""
        for start in range(0, len(block), PIECE):
            piece: NDArray[Any] = block[start : start + PIECE]
            self._n_written += len(piece)
            if self._n_bits:
                piece = _left_justified(piece, self._n_bits)
            elif self._is_double:
                piece = piece.astype(np.float64)
            try:
                self._file.write(np.ascontiguousarray(piece))
            except (self._error, AssertionError) as error:  # soundfile asserts all was written
                raise AudioError("libsndfile could not write it: is the disk full?") from error

    def close(self) -> Metadata:
        """Finish the file and check that all is in it."""
        self._file.close()
        unwritten = write_metadata(self._path, self._kind, self._metadata)
        if self._kind == "CAF":
            unwritten = dataclasses.replace(unwritten, tags=_without(unwritten.tags, TAGS))
        try:  # libsndfile says nothing about a write that fails on closing
            # Any: soundfile's stub of `file` does not know bytes.
            n_found = self._info(cast("Any", libsndfile_path(self._path))).frames
        except self._error:
            n_found = -1
        if n_found != self._n_written:
            raise AudioError(
                "libsndfile cannot write 0 samples in this format; wav holds them"
                if self._n_written == 0
                else f"{self._n_written} samples were written but {max(0, n_found)} are in the file"
            )
        if self._stream is not None:
            with self._path.open("rb") as made:
                while part := made.read(1 << 20):
                    self._stream.write(part)
            self._stream.flush()
        return unwritten

    def abandon(self) -> None:
        """Let go of the file without a check."""
        with contextlib.suppress(self._error):
            self._file.close()
