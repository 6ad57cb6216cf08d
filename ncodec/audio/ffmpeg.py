"""Reading by FFmpeg, for formats that libsndfile does not know: pip install 'ncodec[ffmpeg]'.

FFmpeg comes inside PyAV. It reads from the file it is given alone: only formats that hold audio
are let in, none that names other files or addresses. It leaves out what a player would not play:
an encoder's delay, by edit lists, skipped samples and iTunSMPB.
"""

import contextlib
import io
import os
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from importlib.util import find_spec
from typing import Any, BinaryIO

import numpy as np

from ncodec.audio.base import Audio
from ncodec.audio.metadata import NOTHING, Metadata, storable
from ncodec.errors import AudioError
from ncodec.formats.ncx import FRONT_COVER, OTHER_PICTURE, Picture

_FORMATS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,caf,dsf,dts,dtshd,eac3,flac,iff,matroska,webm,mov,mp4,"
    "m4a,3gp,3g2,mj2,mpc,mpc8,ogg,oma,shn,tak,truehd,tta,w64,wav,wv"
)
_LOSSLESS = frozenset({
    "alac", "ape", "flac", "mlp", "mp4als", "shorten", "tak", "truehd", "tta", "wavpack",
    "wmalossless",
})  # fmt: skip
_GUESSED = frozenset({"aac", "ac3", "amr", "amrnb", "amrwb", "dts", "dtshd", "eac3", "wav"})
_ROUNDING = 1024  # samples by which times may be off where they are not counted in samples
_MOST_SILENCE = 1 << 24  # samples at one place, whose memory is taken at once
_SLACK_SECONDS = 0.5  # how far the length that a container announces may be off, for lossy codecs
_ITUNES_GAPLESS = "iTunSMPB"  # hexadecimal numbers: 0, delay, padding, samples
_KEYS = {"TRACK": "TRACKNUMBER", "DISC": "DISCNUMBER"}  # that FFmpeg calls by other names
_TECHNICAL = ("ENCODER", "DURATION", "CREATIONTIME", "LANGUAGE")
_SCALES = {"u8": 128.0, "s16": 2.0**15, "s32": 2.0**31, "s64": 2.0**63}


class FfmpegReader:
    """Decodes the first stream of audio; see `ncodec.audio.readers.AudioReader`.

    file      on the disk; it stays open
    tolerant  go on after damage, with silence of the right length where the file tells it
    """

    def __init__(self, file: BinaryIO, name: str, *, tolerant: bool = False) -> None:
        av = _av()
        self._error: type[Exception] = av.error.FFmpegError
        self._tolerant = tolerant
        self.problem = ""
        # Not `file` itself, whose buffer may not know where libsndfile has left the descriptor.
        self._raw = io.FileIO(os.dup(file.fileno()))
        self._raw.seek(0)
        try:
            self._container: Any = av.open(
                self._raw, metadata_errors="ignore", options={"format_whitelist": _FORMATS}
            )
        except (self._error, OSError, ValueError) as error:
            self._raw.close()
            raise AudioError(f"{name}: FFmpeg cannot read it: {_reason(error)}") from error
        with contextlib.ExitStack() as stack:
            stack.callback(self.close)
            if not self._container.streams.audio:
                raise AudioError(f"{name}: has no audio, only {self._kinds()}")
            self._stream: Any = self._container.streams.audio[0]
            is_lossless = self._prepare(name)
            self._attached = self._attached_pictures()
            self._pictures: list[Picture] = []
            self._frames = self._decoded()
            self._waiting: list[Audio] = []  # [T, C]
            self._n_waiting, self._n_read = 0, 0
            first = next(self._frames, None)
            if first is None:
                why = self.problem or "there are none"
                raise AudioError(f"{name}: FFmpeg reads no samples of it: {why}")
            self.sample_rate_hz: int = first.sample_rate
            self.n_channels: int = first.layout.nb_channels
            self._most = self._gapless_samples()
            announced = self._announced()
            is_exact = is_lossless and self._stream.time_base == Fraction(1, self.sample_rate_hz)
            self.n_samples = announced if is_exact else None
            self._least = (announced or 0) - round(_SLACK_SECONDS * self.sample_rate_hz)
            self._take(first)
            self.metadata = self._own_metadata()
            self.remarks: list[str] = []
            stack.pop_all()

    def read(self, n: int) -> Audio:
        """Return [T, C]; T < n only at the end, or if there is a problem."""
        while self._n_waiting < n:
            frame = next(self._frames, None)
            if frame is None:
                self._check_end()
                break
            if not self._take(frame):
                break
        joined = np.concatenate([*self._waiting, np.zeros((0, self.n_channels), np.float32)])
        self._waiting, self._n_waiting = [joined[n:]], max(0, len(joined) - n)
        self._n_read += len(joined[:n])
        return joined[:n]

    def close(self) -> None:
        """Let go of FFmpeg; the file stays open."""
        self._container.close()
        self._raw.close()

    def _prepare(self, name: str) -> bool:
        """Set up the decoder; return whether it is a lossless one."""
        codec = self._stream.codec_context
        if codec is None:
            raise AudioError(f"{name}: FFmpeg has no decoder for its audio")
        codec.thread_count = 1
        self.subtype: str = codec.name
        is_lossless = codec.name in _LOSSLESS
        if is_lossless:
            codec.options = {"err_detect": "crccheck+explode"}
        return is_lossless

    def _decoded(self) -> Iterator[Any]:
        """Yield frames, up to the first damage unless tolerant."""
        packets = self._container.demux([self._stream, *self._attached])
        while not self.problem or self._tolerant:
            try:
                packet = next(packets, None)
                if packet is None:
                    return
                if packet.stream.index != self._stream.index:
                    self._pictures += [_picture_of(packet)] if packet.size else []
                    continue
                frames = packet.decode()
            except self._error as error:
                if isinstance(error, EOFError):
                    return
                self.problem = self.problem or _reason(error)
                continue
            for frame in frames:
                if frame.is_corrupt:
                    self.problem = self.problem or "a damaged frame"
                if frame.samples and (self._tolerant or not self.problem):
                    yield frame

    def _take(self, frame: Any) -> bool:
        """Keep the samples of a frame; return whether more may come."""
        shape = frame.sample_rate, frame.layout.nb_channels
        if shape != (self.sample_rate_hz, self.n_channels):
            self.problem = (
                f"from there on it has {shape[1]} channels at {shape[0]} Hz, before that "
                f"{self.n_channels} at {self.sample_rate_hz}"
            )
            return False
        samples = _samples_of(frame)
        taken = self._n_read + self._n_waiting
        if self._tolerant:
            samples = np.concatenate([self._silence_before(frame, taken), samples])
        if self._most is not None and taken + len(samples) >= self._most:
            samples = samples[: self._most - taken]
        self._waiting.append(samples)
        self._n_waiting += len(samples)
        return self._most is None or taken + len(samples) < self._most

    def _silence_before(self, frame: Any, taken: int) -> Audio:
        """Return silence in place of what damage has cost, where the times tell."""
        lost = 0
        if frame.pts is not None and frame.time_base is not None:
            start_s = (frame.pts - (self._stream.start_time or 0)) * frame.time_base
            lost = round(start_s * self.sample_rate_hz) - taken
        is_exact = frame.time_base == Fraction(1, self.sample_rate_hz)
        is_real = lost > 0 if is_exact else lost >= _ROUNDING and bool(self.problem)
        if not is_real or lost > _MOST_SILENCE:
            return np.zeros((0, self.n_channels), np.float32)
        self.problem = self.problem or f"{lost} samples are missing after {taken}"
        return np.zeros((lost, self.n_channels), np.float32)

    def _check_end(self) -> None:
        n = self._n_read + self._n_waiting
        least = self._most or self._least
        if not self.problem and n < least:
            self.problem = f"its header announces {least} or more"

    def _announced(self) -> int | None:
        """Return the samples that the container announces, None where it does not know."""
        if self._container.format.name.split(",")[0] in _GUESSED:
            return None
        if self._stream.duration is not None and self._stream.time_base:
            return round(self._stream.duration * self._stream.time_base * self.sample_rate_hz)
        if self._container.duration is not None:
            return round(self._container.duration * self.sample_rate_hz / 1_000_000)
        return None

    def _gapless_samples(self) -> int | None:
        """Return the samples that iTunes says there are, None where it does not."""
        tags = {**self._container.metadata, **self._stream.metadata}
        numbers = tags.get(_ITUNES_GAPLESS, "").split()
        try:
            return int(numbers[3], 16) or None
        except (IndexError, ValueError):
            return None

    def _own_metadata(self) -> Metadata:
        """Return the tags of what mutagen does not know; it knows more of all else."""
        if not self._is_matroska:
            return NOTHING
        tags: dict[str, str] = {**self._container.metadata, **self._stream.metadata}
        named = ((name.upper().replace("_", ""), text) for name, text in tags.items())
        pairs = ((_KEYS.get(key, key), text) for key, text in named if key not in _TECHNICAL)
        return replace(storable(pairs), pictures=tuple(self._pictures))

    def _attached_pictures(self) -> list[Any]:
        """Return the streams that are pictures in Matroska; they come before all audio."""
        if not self._is_matroska:
            return []
        attached = _av().stream.Disposition.attached_pic
        return [one for one in self._container.streams.video if one.disposition & attached]

    @property
    def _is_matroska(self) -> bool:
        return self._container.format.name.split(",")[0] == "matroska"

    def _kinds(self) -> str:
        kinds = sorted({stream.type for stream in self._container.streams})
        return ", ".join(kinds) or "nothing"


def is_there() -> bool:
    """Whether PyAV is installed."""
    return find_spec("av") is not None


def _av() -> Any:
    import av

    logging: Any = av.logging  # pyright: ignore[reportPrivateImportUsage]
    logging.set_level(None)  # nothing but ncodec writes to standard error
    return av


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).strip(" .") or type(error).__name__


def _picture_of(packet: Any) -> Picture:
    """Return a picture that is attached to a Matroska file, by the names that are usual there."""
    tags: dict[str, str] = packet.stream.metadata
    name = tags.get("filename", "")
    is_cover = name.lower().startswith("cover")
    return Picture(
        bytes(packet), tags.get("mimetype", ""), FRONT_COVER if is_cover else OTHER_PICTURE,
        "" if is_cover else name,
    )  # fmt: skip


def _samples_of(frame: Any) -> Audio:
    """Return float32 [T, C]."""
    array: Any = frame.to_ndarray()
    channels = frame.layout.nb_channels
    array = array.T if frame.format.is_planar else array.reshape(-1, channels)
    kind = frame.format.name.removesuffix("p")
    if kind in ("flt", "dbl"):
        with np.errstate(over="ignore"):  # an infinity is reported with its place
            return array.astype(np.float32)
    scale = _SCALES[kind]
    offset = scale if kind == "u8" else 0.0
    return ((array.astype(np.float64) - offset) / scale).astype(np.float32)
