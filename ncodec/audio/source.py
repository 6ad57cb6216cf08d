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
from typing import BinaryIO, Self, cast

import numpy as np

from ncodec.audio import ffmpeg
from ncodec.audio.base import MAX_CHANNELS, PIECE, Audio, Target
from ncodec.audio.flac import Md5Check, copy_whole, inspect_flac
from ncodec.audio.metadata import NOTHING
from ncodec.audio.mpeg import copy_behind_silence, find_start, is_cut
from ncodec.audio.ogg import ChainedOgg, find_links
from ncodec.audio.readers import AudioReader, SndFile, UncountedMpeg, WavPipe
from ncodec.audio.recognise import may_be_audio, recognise
from ncodec.audio.stream import ForwardReader, is_disk_file, lend, libsndfile_path, stream_name
from ncodec.audio.tag_files import read_metadata
from ncodec.audio.wav import (
    UNKNOWN_SIZE,
    WavHeader,
    missing_bytes,
    odd_wav,
    read_wav_header,
    read_wav_metadata,
)
from ncodec.errors import AudioError, UsageError
from ncodec.formats.audio_files import FFMPEG_EXTRA
from ncodec.formats.ncx import Tags
from ncodec.formats.streams import Replay

MAX_SILENCE = 1 << 31  # samples that may follow damage: a header can announce anything
_MOST_DAMAGE = 20  # reports of values that are not finite
_MPEG_SLACK = 2 * 1152  # how far the count in an MP3's first frame may be off


class AudioSource:
    """An audio file or stream, open for reading once from start to end.

    Attributes:
        name: what errors call it.
        sample_rate_hz: samples per second and channel.
        n_channels: 1 to MAX_CHANNELS.
        n_samples: per channel; None when only reading will tell. Exact once all is read.
        metadata: its tags and pictures.
        has_metadata: that is all of it; else only reading will tell.
        truncated_at: samples there were, if the header announces more and that is allowed.
        damage: what was wrong with it, if that is allowed, in words; once all is read.
        remarks: what else a listener should know, in words; once all is read.

    `raw` says what samples without a header are.

    Every error is an AudioError that names the source. Audio that ends before the header says, or
    that is damaged on the way, is one, unless

        allow_truncated  the part before is given; or
        conceal          silence follows it, up to the length that the header announces, values
                         that are not finite become 0, and what FFmpeg can read after damage is
                         given too, with silence between
    """

    def __init__(
        self, source: Target, *, name: str | None = None, allow_truncated: bool = False,
        conceal: bool = False, raw: WavHeader | None = None,
    ) -> None:  # fmt: skip
        is_path = isinstance(source, str | os.PathLike)
        self.name = name or (os.fspath(source) if is_path else stream_name(source))
        self.truncated_at: int | None = None
        self.damage: list[str] = []
        self.remarks: list[str] = []
        self._conceals = conceal
        self._allow_truncated = allow_truncated or conceal
        self._missing = Missing()
        self._slack = _MPEG_SLACK
        self._md5: Md5Check | None = None
        self._metadata = NOTHING
        self.has_metadata = True
        with contextlib.ExitStack() as stack:
            try:
                file = stack.enter_context(Path(source).open("rb")) if is_path else source
                if raw is not None:
                    self._reader: AudioReader = WavPipe(ForwardReader(file, self.name), raw)
                else:
                    self._reader = self._open(file, source if is_path else None, stack)
            except (OSError, ValueError) as error:  # ValueError: a null character in the name
                why = getattr(error, "strerror", None) or error
                raise AudioError(f"{self.name}: cannot be read: {why}") from error
            stack.callback(self._reader.close)
            self.sample_rate_hz = self._reader.sample_rate_hz
            self.n_channels = self._reader.n_channels
            self._announced = self._reader.n_samples
            if self._announced is not None and conceal:
                self._announced += self._missing.n_samples
            is_mpeg = _is_mpeg(self._reader)  # whose count may be off
            self.n_samples = None if is_mpeg else self._announced
            self.metadata = self._metadata.merged(self._reader.metadata)
            if not 1 <= self.n_channels <= MAX_CHANNELS:
                raise AudioError(
                    f"{self.name}: {self.n_channels} channels, 1 to {MAX_CHANNELS} are supported"
                )
            if self.sample_rate_hz < 1:
                raise AudioError(f"{self.name}: a sample rate of {self.sample_rate_hz} Hz")
            if self._missing.text and not self._allow_truncated:
                raise AudioError(f"{self.name}: truncated: {self._missing.text}")
            self._stack = stack.pop_all()

    @property
    def tags(self) -> Tags:
        """Its tags."""
        return self.metadata.tags

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
            self.has_metadata = False  # more may follow its audio
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
        self._metadata = read_wav_metadata(file) or read_metadata(file)
        wav = self._open_odd_wav(file, n_bytes)
        if wav is not None:
            return wav
        if odd := odd_wav(file, n_bytes):
            file.seek(0)
            reader = ForwardReader(file, self.name)
            header = read_wav_header(reader)
            if header is not None:  # libsndfile refuses some of them
                return WavPipe(reader, header)
            self.remarks.append(odd)
        file.seek(0)
        missing = missing_bytes(file, n_bytes)
        links = find_links(file)
        if len(links) > 1:
            chain = ChainedOgg(file, links, self.name, self._temporary_file, stack)
            self._missing = _missing(chain, missing) if missing else Missing()
            return chain
        try:
            flac = inspect_flac(file)
            if flac is not None:
                if fault := flac.fault:
                    raise AudioError(f"{self.name}: {fault}")
                if self._conceals and ffmpeg.is_there():
                    return ffmpeg.FfmpegReader(file, self.name, tolerant=True)
                self._md5 = flac.md5_check()
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
                return self._open_by_ffmpeg(file, error)
            lost = f"its last {missing} bytes are missing"
            raise AudioError(f"{self.name}: truncated: {lost}") from error
        if missing:
            self._missing = _missing(reader, missing)
        return reader

    def _open_by_ffmpeg(self, file: BinaryIO, error: AudioError) -> AudioReader:
        """Open what libsndfile refuses with `error`."""
        file.seek(0)
        start = file.read(512)
        what = recognise(start)
        said = f"{error}; it is {what}" if what else str(error)
        if not may_be_audio(start):
            raise AudioError(said) from error
        if not ffmpeg.is_there():
            raise AudioError(f"{said}: {FFMPEG_EXTRA} reads it" if what else said) from error
        try:
            return ffmpeg.FfmpegReader(file, self.name, tolerant=self._conceals)
        except AudioError as refusal:
            why = str(refusal).removeprefix(f"{self.name}: ")
            raise AudioError(f"{said}; {why}") from refusal

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
                text = f"the header announces {announced} samples, {found} are there"
                self._missing = Missing(text, announced - found)
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
            self.remarks += () if start is None else start.remarks
            if start is not None and not start.has_length:
                self.remarks += ["its last frame is cut off"] if is_cut(again, start) else []
                with self._temporary_file(stack) as copy:
                    n_silent = copy_behind_silence(again, start, copy)
                return UncountedMpeg(lend(copy, stack), self.name, n_silent)
            again.seek(0)
        reader = SndFile(where, self.name)
        if start is None:
            reader.n_samples = None  # libsndfile only estimates
        elif start.is_exact:
            self._slack = 0
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
            block = self._finite(block, n_read)
            n_read += len(block)
            if self._md5 is not None:
                self._md5.update(block)
            if len(block):
                yield np.ascontiguousarray(block.T)
            if len(block) < n:
                break
        self._finish(n_read)
        while n_read < (self.n_samples or 0):
            n_silent = min(n, (self.n_samples or 0) - n_read)
            n_read += n_silent
            yield np.zeros((self.n_channels, n_silent), np.float32)

    def _finite(self, block: Audio, n_read: int) -> Audio:
        """Return a block without values that are not finite, if that is allowed."""
        finite = np.isfinite(block)
        if finite.all():
            return block
        sample, channel = np.argwhere(~finite)[0]
        place = f"sample {n_read + sample} of channel {channel + 1} is {block[sample, channel]}"
        if not self._conceals:
            raise AudioError(f"{self.name}: {place}")
        if len(self.damage) < _MOST_DAMAGE:
            self.damage.append(f"{place}: it and others of its block that are not finite are 0")
        return np.where(finite, block, np.float32(0))

    def _finish(self, n_read: int) -> None:
        announced, problem = self._announced, self._reader.problem
        self.n_samples, self.has_metadata = n_read, True
        self.metadata = self._metadata.merged(self._reader.metadata)
        self.remarks += self._reader.remarks
        slack = self._slack if _is_mpeg(self._reader) else 0
        if announced is not None and announced > n_read + slack:
            why = f": {problem}" if problem else ""
            problem = f"the header announces {announced} samples, {n_read} can be read{why}"
        elif problem:
            problem = f"{n_read} samples can be read: {problem}"
        if problem and not self._allow_truncated:
            raise AudioError(f"{self.name}: truncated or damaged: {problem}")
        if problem or self._missing.text:
            self.truncated_at = n_read
            self.damage.append(problem or self._missing.text)
            if self._conceals and announced is not None and announced > n_read + slack:
                self.n_samples = min(announced, n_read + MAX_SILENCE)
                self.damage[-1] += f"; silence from {n_read / self.sample_rate_hz:.2f} s on"
        elif self._md5 is not None and self._md5.differs:
            self.remarks.append("its audio is not what its MD5 was made of: damaged or edited")

    def close(self) -> None:
        """Close what was opened here; a stream that was given stays open."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def _is_mpeg(reader: AudioReader) -> bool:
    return getattr(reader, "subtype", "").startswith("MPEG_LAYER")  # also in a WAV


def _close_full(file: BinaryIO) -> None:
    """Close a file, though what it still holds may not fit on the disk: it is not wanted."""
    with contextlib.suppress(OSError):
        file.close()


@dataclasses.dataclass(frozen=True, slots=True)
class Missing:
    """What is known, before anything is read, to be missing at the end."""

    text: str = ""
    n_samples: int = 0


def _missing(reader: SndFile | ChainedOgg, missing: int) -> Missing:
    widths = {"PCM_S8": 1, "PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4,
              "DOUBLE": 8, "ULAW": 1, "ALAW": 1}  # fmt: skip
    found = reader.n_samples or 0
    if reader.subtype not in widths:
        return Missing(f"{missing} bytes are missing after {found} samples")
    lost = -(-missing // (widths[reader.subtype] * reader.n_channels))
    return Missing(f"the header announces {found + lost} samples, {found} are there", lost)


def read(source: Target, *, allow_truncated: bool = False) -> tuple[Audio, int]:
    """Return all of a file or stream as float32 [C, T], and its sample rate in Hz."""
    with AudioSource(source, allow_truncated=allow_truncated) as audio:
        blocks = list(audio.blocks(PIECE))
        empty = np.zeros((audio.n_channels, 0), np.float32)
        return np.concatenate(blocks or [empty], axis=1), audio.sample_rate_hz
