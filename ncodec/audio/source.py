"""Reading: AudioSource (or `read`, all at once).

Files, also as standard input, go through libsndfile, but for some WAV that it does not read whole.
From a pipe or any other stream, WAV of integers or floats is decoded as it comes; anything else is
first copied to a temporary file, and so is an MP3 that does not say how long it is.
"""

import contextlib
import dataclasses
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self, cast

import numpy as np

from ncodec.audio.base import MAX_CHANNELS, PIECE, Audio, Target
from ncodec.audio.flac import copy_whole, inspect_flac
from ncodec.audio.mpeg import copy_behind_silence, find_start
from ncodec.audio.ogg import ChainedOgg, find_links
from ncodec.audio.readers import AudioReader, SndFile, UncountedMpeg, WavPipe
from ncodec.audio.recognise import recognise
from ncodec.audio.stream import ForwardReader, is_disk_file, lend, libsndfile_path, stream_name
from ncodec.audio.tags import merged, read_tags
from ncodec.audio.wav import UNKNOWN_SIZE, missing_bytes, read_wav_header, read_wav_tags
from ncodec.errors import AudioError, UsageError
from ncodec.formats.streams import Replay

if TYPE_CHECKING:
    from ncodec.formats.ncx import Tags

_MPEG_SLACK = 2 * 1152  # how far the count in an MP3's first frame may be off


class AudioSource:
    """An audio file or stream, open for reading once from start to end.

    Attributes:
        name: what errors call it.
        sample_rate_hz: samples per second and channel.
        n_channels: 1 to MAX_CHANNELS.
        n_samples: per channel; None when only reading will tell. Exact once all is read.
        tags: keys of Vorbis comments in upper case, and texts; see `ncodec.audio.tags`.
        truncated_at: samples there were, if the header announces more and that is allowed.

    Every error is an AudioError that names the source. Audio that ends before the header says,
    or that is damaged on the way, is one, unless `allow_truncated`: then the part before is given.
    """

    def __init__(
        self, source: Target, *, name: str | None = None, allow_truncated: bool = False
    ) -> None:
        is_path = isinstance(source, str | os.PathLike)
        self.name = name or (os.fspath(source) if is_path else stream_name(source))
        self.truncated_at: int | None = None
        self._allow_truncated = allow_truncated
        self._missing: str = ""
        self._tags: Tags = ()
        with contextlib.ExitStack() as stack:
            try:
                file = stack.enter_context(Path(source).open("rb")) if is_path else source
                self._reader = self._open(file, source if is_path else None, stack)
            except (OSError, ValueError) as error:  # ValueError: a null character in the name
                why = getattr(error, "strerror", None) or error
                raise AudioError(f"{self.name}: cannot be read: {why}") from error
            stack.callback(self._reader.close)
            self.sample_rate_hz = self._reader.sample_rate_hz
            self.n_channels = self._reader.n_channels
            self._announced = self._reader.n_samples
            is_mpeg = getattr(self._reader, "format", "") == "MP3"  # whose count may be off
            self.n_samples = None if is_mpeg else self._announced
            self.tags = merged(self._tags, self._reader.tags)
            if not 1 <= self.n_channels <= MAX_CHANNELS:
                raise AudioError(
                    f"{self.name}: {self.n_channels} channels, 1 to {MAX_CHANNELS} are supported"
                )
            if self.sample_rate_hz < 1:
                raise AudioError(f"{self.name}: a sample rate of {self.sample_rate_hz} Hz")
            if self._missing and not allow_truncated:
                raise AudioError(f"{self.name}: truncated: {self._missing}")
            self._stack = stack.pop_all()

    def _open(
        self, file: BinaryIO, path: str | os.PathLike[str] | None, stack: contextlib.ExitStack
    ) -> AudioReader:
        if is_disk_file(file):
            return self._open_file(file, path, stack)
        again = Replay(file)
        reader = ForwardReader(again, self.name)
        header = read_wav_header(reader)
        if header is not None:
            again.forget()
            return WavPipe(reader, header)
        again.rewind()
        with self._temporary_file(stack) as copy:
            while part := reader.read(1 << 20):
                copy.write(part)
        return self._open_file(copy, None, stack)

    def _open_file(
        self, file: BinaryIO, path: str | os.PathLike[str] | None, stack: contextlib.ExitStack
    ) -> AudioReader:
        n_bytes = file.seek(0, os.SEEK_END)
        if n_bytes == 0:
            raise AudioError(f"{self.name}: is empty")
        self._tags = read_wav_tags(file) or read_tags(file)
        wav = self._open_odd_wav(file, n_bytes)
        if wav is not None:
            return wav
        file.seek(0)
        missing = missing_bytes(file, n_bytes)
        links = find_links(file)
        if len(links) > 1:
            chain = ChainedOgg(file, links, self.name, self._temporary_file, stack)
            self._missing = _missing_text(chain, missing) if missing else ""
            return chain
        try:
            flac = inspect_flac(file)
            if flac is not None and flac.needs_copy:
                with self._temporary_file(stack) as copy:
                    copy_whole(file, flac, copy)
                return SndFile(lend(copy, stack), self.name)
            where = lend(file, stack) if path is None else libsndfile_path(path)
            reader = SndFile(where, self.name)
            if reader.format == "MP3":
                reader.close()
                reader = self._open_mpeg(file, where, stack)
        except AudioError as error:
            if not missing:
                file.seek(0)
                what = recognise(file.read(512))
                raise AudioError(f"{error}; it is {what}" if what else str(error)) from error
            lost = f"its last {missing} bytes are missing"
            raise AudioError(f"{self.name}: truncated: {lost}") from error
        if missing:
            self._missing = _missing_text(reader, missing)
        return reader

    def _open_odd_wav(self, file: BinaryIO, n_bytes: int) -> WavPipe | None:
        """Open a WAV of which libsndfile would read only a part, or nothing: None for any other.

        That is BW64, a file whose writer did not know the length, and one of 4 GiB or more whose
        sizes are what 32 bits hold of it.
        """
        file.seek(0)
        magic, riff_bytes = file.read(4), int.from_bytes(file.read(4), "little")
        if magic not in (b"RIFF", b"RF64", b"BW64") or (
            magic == b"RIFF" and riff_bytes not in (0, UNKNOWN_SIZE) and n_bytes <= riff_bytes + 9
        ):
            return None
        file.seek(0)
        reader = ForwardReader(file, self.name)
        header = read_wav_header(reader)
        if header is None:
            return None
        if header.data_bytes is not None:
            beyond = n_bytes - reader.position - header.data_bytes
            wrapped = max(0, beyond) >> 32 << 32 if magic == b"RIFF" else 0
            if magic != b"BW64" and not wrapped:
                return None
            announced = header.data_bytes // header.frame_bytes
            n_there = header.data_bytes + wrapped + min(0, beyond)
            header = dataclasses.replace(header, data_bytes=n_there)
            if beyond < 0:
                found = n_there // header.frame_bytes
                self._missing = f"the header announces {announced} samples, {found} are there"
        return WavPipe(reader, header)

    @contextlib.contextmanager
    def _temporary_file(self, stack: contextlib.ExitStack) -> Iterator[BinaryIO]:
        """Give a file to fill, which is there until `stack` is left."""
        folder = tempfile.gettempdir()
        try:
            copy = cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115
            stack.callback(_close_full, copy)
            yield copy
            copy.flush()
        except OSError as error:
            why = f"cannot be copied to the temporary folder {folder}: {error.strerror}"
            raise AudioError(f"{self.name}: {why}") from error

    def _open_mpeg(
        self, file: BinaryIO, where: str | bytes | int, stack: contextlib.ExitStack
    ) -> SndFile:
        # Another object, as the buffer of `file` may not know where the descriptor stands.
        with os.fdopen(os.dup(file.fileno()), "rb") as again:
            start = find_start(again)
            if start is not None and not start.has_length:
                with self._temporary_file(stack) as copy:
                    n_silent = copy_behind_silence(again, start, copy)
                return UncountedMpeg(lend(copy, stack), self.name, n_silent)
            again.seek(0)
        reader = SndFile(where, self.name)
        if start is None:
            reader.n_samples = None  # libsndfile only estimates
        return reader

    def blocks(self, n: int) -> Iterator[Audio]:
        """Yield float32 [C, T] of `n` samples each, the last one with what is left."""
        if n < 1:
            raise UsageError(f"blocks of {n} samples")
        n_read = 0
        while True:
            try:
                block = self._reader.read(n)
            except OSError as error:
                raise AudioError(f"{self.name}: cannot be read: {error.strerror}") from error
            finite = np.isfinite(block)
            if not finite.all():
                sample, channel = np.argwhere(~finite)[0]
                raise AudioError(
                    f"{self.name}: sample {n_read + sample} of channel {channel + 1} is "
                    f"{block[sample, channel]}"
                )
            n_read += len(block)
            if len(block):
                yield np.ascontiguousarray(block.T)
            if len(block) < n:
                break
        self._finish(n_read)

    def _finish(self, n_read: int) -> None:
        announced, problem = self._announced, self._reader.problem
        self.n_samples = n_read
        slack = _MPEG_SLACK if getattr(self._reader, "format", "") == "MP3" else 0
        if announced is not None and announced > n_read + slack:
            why = f": {problem}" if problem else ""
            problem = f"the header announces {announced} samples, {n_read} can be read{why}"
        elif problem:
            problem = f"{n_read} samples can be read: {problem}"
        if problem and not self._allow_truncated:
            raise AudioError(f"{self.name}: truncated or damaged: {problem}")
        if problem or self._missing:
            self.truncated_at = n_read

    def close(self) -> None:
        """Close what was opened here; a stream that was given stays open."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def _close_full(file: BinaryIO) -> None:
    """Close a file, though what it still holds may not fit on the disk: it is not wanted."""
    with contextlib.suppress(OSError):
        file.close()


def _missing_text(reader: SndFile | ChainedOgg, missing: int) -> str:
    widths = {"PCM_S8": 1, "PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4,
              "DOUBLE": 8, "ULAW": 1, "ALAW": 1}  # fmt: skip
    found = reader.n_samples or 0
    if reader.subtype not in widths:
        return f"{missing} bytes are missing after {found} samples"
    lost = -(-missing // (widths[reader.subtype] * reader.n_channels))
    return f"the header announces {found + lost} samples, {found} are there"


def read(source: Target, *, allow_truncated: bool = False) -> tuple[Audio, int]:
    """Return all of a file or stream as float32 [C, T], and its sample rate in Hz."""
    with AudioSource(source, allow_truncated=allow_truncated) as audio:
        blocks = list(audio.blocks(PIECE))
        empty = np.zeros((audio.n_channels, 0), np.float32)
        return np.concatenate(blocks or [empty], axis=1), audio.sample_rate_hz
