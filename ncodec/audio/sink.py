"""Writing: AudioSink (or `write`, all at once).

WAV is written here, all else by libsndfile. A stream is only ever appended to, so what libsndfile
makes for one is copied there at the end.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, cast

import numpy as np
from numpy.typing import NDArray

from ncodec.audio.base import MAX_CHANNELS, Target
from ncodec.audio.metadata import Metadata
from ncodec.audio.stream import stream_name
from ncodec.audio.tags import by_key
from ncodec.audio.wav import WavHeader
from ncodec.audio.writers import AudioWriter, SndFileWriter, WavWriter
from ncodec.errors import AudioError, RateUnsupported, UsageError, plural
from ncodec.formats.atomic_files import atomic_output
from ncodec.formats.audio_files import ALIASES, WRITABLE
from ncodec.formats.ncx import Picture, Tags

_RATES_HZ = {
    "OPUS": (8000, 12000, 16000, 24000, 48000),
    "MPEG_LAYER_III": (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000),
}
_HIGHEST_HZ = {"VORBIS": 200_000}  # above, libsndfile crashes
_UNLIMITED = ("FLOAT", "DOUBLE", "VORBIS", "OPUS", "MPEG_LAYER_III")
_WAV_SAMPLES = {"PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}


class AudioSink:
    """An audio file or stream, open for writing; a file appears under its name on `close`.

    Leaving the `with` block by an exception removes the unfinished file. Values beyond +-1 are
    limited to it where the subtype cannot hold them, and counted. There is no dither.

    Attributes:
        n_written: samples per channel so far.
        n_clipped: values that were limited.
        peak: the largest magnitude that was given to `write`.
        unwritten_tags: keys of the tags that the format has no room for, once it is closed.
        n_unwritten_pictures: how many pictures the format has no room for, once it is closed.

    Args:
        target: a path, whose suffix names the format (none: wav), or a stream (wav).
        sample_rate_hz: samples per second and channel.
        n_channels: 1 to MAX_CHANNELS.
        n_samples: samples per channel, if known: a WAV stream then announces its length.
        container: wav, rf64, flac, ogg, opus, mp3, aiff, w64 or caf, if the suffix does not say.
        subtype: libsndfile's name of the sample type, such as PCM_24 or FLOAT.
        tags: keys of Vorbis comments and texts; a key may occur more than once.
        pictures: that belong to the audio.
        overwrite: whether to replace a file that exists.
    """

    def __init__(
        self, target: Target, sample_rate_hz: int, n_channels: int, *,
        n_samples: int | None = None, container: str | None = None, subtype: str | None = None,
        tags: Tags = (), pictures: Iterable[Picture] = (), overwrite: bool = False,
    ) -> None:  # fmt: skip
        is_path = isinstance(target, str | os.PathLike)
        self.name = os.fspath(target) if is_path else stream_name(target)
        self.n_channels = n_channels
        self.n_written = 0
        self.n_clipped = 0
        self.peak = 0.0
        self.unwritten_tags: tuple[str, ...] = ()
        self.n_unwritten_pictures = 0
        metadata = Metadata(tags, tuple(pictures))
        self._n_samples = n_samples
        kind, subtype = self._choose(is_path, container, subtype, sample_rate_hz)
        self._limits = subtype not in _UNLIMITED
        with contextlib.ExitStack() as stack, self._named():
            path = stack.enter_context(atomic_output(target, overwrite)) if is_path else None
            is_stream = path is None or not path.is_file()
            if kind in ("WAV", "RF64") and subtype in _WAV_SAMPLES:
                width = _WAV_SAMPLES[subtype]
                n_bytes = None if n_samples is None else n_samples * n_channels * width
                is_float = subtype in ("FLOAT", "DOUBLE")
                header = WavHeader(sample_rate_hz, n_channels, width, is_float, n_bytes, metadata)
                file = stack.enter_context(path.open("wb")) if path else cast("BinaryIO", target)
                self._writer: AudioWriter = WavWriter(
                    file, header, seeks=not is_stream, rf64=kind == "RF64"
                )
            else:
                stream = None
                if is_stream:
                    stream = stack.enter_context(path.open("wb")) if path else target
                    made_in = stack.enter_context(tempfile.TemporaryDirectory())
                    path = Path(made_in) / f"made.{kind.lower()}"
                writer = SndFileWriter(
                    cast("Path", path), cast("BinaryIO | None", stream), sample_rate_hz,
                    n_channels, kind, subtype, metadata,
                )  # fmt: skip
                stack.callback(writer.abandon)
                self._writer = writer
            self._is_open = True
            self._stack = stack.pop_all()

    def _choose(
        self, is_path: bool, container: str | None, subtype: str | None, rate: int
    ) -> tuple[str, str]:
        import soundfile

        suffix = (container or (Path(self.name).suffix if is_path else "")).lstrip(".").lower()
        format_name = ALIASES.get(suffix, suffix or "wav")
        if format_name not in WRITABLE:
            known = ", ".join((*WRITABLE, *ALIASES))
            raise UsageError(f"{self.name}: no audio format {suffix!r}; there are {known}")
        kind, usual = WRITABLE[format_name]
        subtype = (subtype or usual).upper()
        possible = [*soundfile.available_subtypes(kind)] if kind != "OGG" else [usual]
        if subtype not in possible:
            raise UsageError(f"{self.name}: {kind} has no {subtype}; it has {', '.join(possible)}")
        if not 1 <= self.n_channels <= MAX_CHANNELS:
            raise AudioError(
                f"{self.name}: {self.n_channels} channels, 1 to {MAX_CHANNELS} are supported"
            )
        if rate not in _RATES_HZ.get(subtype, (rate,)):
            rates = ", ".join(map(str, _RATES_HZ[subtype]))
            raise RateUnsupported(f"{self.name}: {suffix} has no {rate} Hz; it has {rates}")
        if rate > _HIGHEST_HZ.get(subtype, rate):
            most = _HIGHEST_HZ[subtype]
            raise RateUnsupported(f"{self.name}: {suffix} has no {rate} Hz; it has up to {most}")
        return kind, subtype

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """Put the target's name before an error of the writer or the operating system."""
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            raise AudioError(f"{self.name}: cannot be written: {error.strerror}") from error
        except AudioError as error:
            raise AudioError(f"{self.name}: {str(error).removeprefix(f'{self.name}: ')}") from error

    def write(self, block: NDArray[np.floating[Any]]) -> None:
        """Append [C, T]."""
        if block.ndim != 2 or block.shape[0] != self.n_channels:
            raise ValueError(f"a block of shape {block.shape} for {self.n_channels} channels")
        samples = block.T.astype(np.float32, copy=False)
        magnitude = np.abs(samples)
        highest = float(magnitude.max(initial=0))
        if not np.isfinite(highest):
            at = f"after {self.n_written} samples"
            raise AudioError(f"{self.name}: a value to write {at} is not a finite number")
        self.peak = max(self.peak, highest)
        if highest > 1 and self._limits:
            self.n_clipped += int((magnitude > 1).sum())
            samples = np.clip(samples, -1, 1)
        with self._named():
            self._writer.write(samples)
        self.n_written += block.shape[1]

    @property
    def unwritten(self) -> str:
        """What the format has no room for, in words; "" for nothing, or while it is open."""
        pictures = self.n_unwritten_pictures
        parts = (
            f"the tags {', '.join(self.unwritten_tags)}" if self.unwritten_tags else "",
            plural(pictures, "picture") if pictures else "",
        )
        return " and ".join(part for part in parts if part)

    def close(self) -> None:
        """Finish the file; doing it again does nothing."""
        is_open, self._is_open = self._is_open, False
        with self._named(), self._stack.pop_all():  # a failure here removes the file
            if is_open and self._n_samples not in (None, self.n_written):
                raise AudioError(f"{self._n_samples} samples were announced, {self.n_written} came")
            if is_open:
                left = self._writer.close()
                self.unwritten_tags = tuple(by_key(left.tags))
                self.n_unwritten_pictures = len(left.pictures)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        if kind is None:
            self.close()
        else:
            self._stack.__exit__(kind, error, trace)


def write(
    target: Target, wav: NDArray[np.floating[Any]], sample_rate_hz: int, *,
    container: str | None = None, subtype: str | None = None,
    tags: Tags = (), pictures: Iterable[Picture] = (), overwrite: bool = False,
) -> int:  # fmt: skip
    """Write all of [C, T] and return how many values had to be limited to +-1."""
    with AudioSink(
        target, sample_rate_hz, wav.shape[0], n_samples=wav.shape[1], container=container,
        subtype=subtype, tags=tags, pictures=pictures, overwrite=overwrite,
    ) as sink:  # fmt: skip
        sink.write(wav)
    return sink.n_clipped
