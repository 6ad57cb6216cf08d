"""Audio files to .ncx files, short ones together.

Shapes: C channels, T samples, S streams, Q codebooks, F frames, B streams of several files.

A clip that makes one packet is coded in one pass of the network; clips of equal length make one
batch, row by row what each would be by itself. So the files are those that `encode_audio` makes.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ncodec.audio import AudioSource, Resampler
from ncodec.batch.batch_decode import check_files
from ncodec.batch.protocols import CONCEALED, PathOpener, Progress, Result
from ncodec.batch.settings import Settings, resolved_options
from ncodec.bitstream.codes import CodedPacket, Codes, coder_for, digest_bytes
from ncodec.encoding.choice import have_equal_channels, is_full_band_stereo
from ncodec.encoding.encoder import ALL_PIECES, PIECE_SECONDS, Encoding
from ncodec.encoding.gapless import Track, encode_gapless
from ncodec.encoding.options import ResolvedOptions
from ncodec.encoding.whole_file import write_whole
from ncodec.errors import AudioError
from ncodec.formats.ncx import CodesDigest, Header, Writer
from ncodec.hub.codecs import load_codec
from ncodec.models.base import Codec

if TYPE_CHECKING:
    from ncodec.entropy import EntropyCoder

SHORT_SECONDS = 3.0  # of clips that are coded together: longer ones gain nothing by it
ROWS_AT_ONCE = {"cpu": 32, "cuda": 256}  # streams in one pass, at most
SAMPLES_AT_ONCE = {"cpu": 400_000, "cuda": 16_000_000}  # of all of them: more gain nothing


class _Loaded:
    """A model, and what it is used with."""

    def __init__(self, settings: Settings, device: str) -> None:
        self.options = resolved_options(settings)
        self.codec = load_codec(self.options.model, device)
        self.search = self.options.search(device)
        self.coders: dict[int, EntropyCoder] = {}  # by the number of streams


@dataclass(slots=True)
class ShortClip:
    """A short file that was read."""

    by: _Loaded
    header: Header
    wav: NDArray[np.float32]  # [S, C, T] at the codec's rate
    n_samples: int  # of the source
    remarks: tuple[str, ...]
    codes: Codes | None = None  # [S, Q, F], F > 0
    scales: tuple[float, ...] = ()
    payload: bytes = b""


@dataclass(frozen=True, slots=True)
class CodedSegment:
    """A coded segment of a long file."""

    packets: list[CodedPacket]
    n_samples: int | None  # of the file, if this is its end
    remarks: tuple[str, ...] = ()


class Encoder:
    """See Converter. The models are loaded once; which of them codes a file, the file decides."""

    def __init__(self, settings: Settings, *, device: str = "cpu") -> None:
        self._device = device
        self._usual = _Loaded(settings, device)
        self._stereo = settings.stereo and _Loaded(settings.stereo, device)

    def prepare(self, name: str, path: Path) -> ShortClip | None:
        """See Converter."""
        with self._source(path, name) as source:
            if source.n_samples is None:
                return None
            if source.n_samples > SHORT_SECONDS * source.sample_rate_hz:
                return None
            loaded, options = self._chosen(source, path)
            encoding = self._encoding(source, options)
            header = encoding.header(source.n_samples, source.metadata)
            rate, n_coded = loaded.codec.config.sample_rate_hz, header.n_channels
            resampler = Resampler(source.sample_rate_hz, rate, n_coded)
            n_block = max(1, round(PIECE_SECONDS * source.sample_rate_hz))
            blocks = [resampler.push(block[:n_coded]) for block in source.blocks(n_block)]
            nothing = np.zeros((n_coded, 0), np.float32)
            wav = np.concatenate([*blocks, resampler.push(nothing, last=True)], axis=1)
            wav = wav.reshape(header.n_streams, header.channels_per_stream, -1)
            return ShortClip(loaded, header, wav, source.n_samples, _remarks(encoding, source))

    def compute(self, prepared: Sequence[ShortClip]) -> list[ShortClip]:
        """See Converter."""
        for clips in _alike(prepared, self._device):
            self._code(clips)
        coded: dict[tuple[_Loaded, int], list[ShortClip]] = {}
        for clip in prepared:
            if clip.codes is not None:
                coded.setdefault((clip.by, clip.header.n_streams), []).append(clip)
        for (loaded, n_streams), clips in coded.items():
            coders = loaded.coders
            if n_streams not in coders:
                coders[n_streams] = coder_for(clips[0].header)
            payloads = coders[n_streams].encode_many([_codes_of(clip) for clip in clips])
            for clip, payload in zip(clips, payloads, strict=True):
                clip.payload = payload
        return [clip for clip in prepared if clip.codes is not None or not clip.wav.shape[2]]

    def _code(self, clips: Sequence[ShortClip]) -> None:
        """Find the codes of clips that are alike; none for one whose level is out of bounds."""
        wav, by = np.concatenate([clip.wav for clip in clips]), clips[0].by
        n_channels = by.codec.config.n_channels
        wav = np.broadcast_to(wav, (len(wav), n_channels, wav.shape[2]))
        state = by.codec.start_encoder(len(wav), search=by.search)
        chunk = by.codec.encode_arrays(wav, state, by.options.n_q, last=True)
        row = 0
        for clip in clips:
            rows = slice(row, row + len(clip.wav))
            row += len(clip.wav)
            if np.isfinite(chunk.scales[rows]).all():
                clip.codes = chunk.codes[rows]
                clip.scales = tuple(chunk.scales[rows].flatten().tolist())

    def write(self, one: ShortClip, path: Path) -> Result:
        """See Converter."""
        digest = CodesDigest()
        with path.open("wb") as sink:
            writer = Writer(sink, one.header)
            if one.codes is not None:
                digest.update(digest_bytes(one.codes))
                writer.write_packet(one.codes.shape[-1], one.payload, scales=one.scales)
            writer.finish(digest.digest(), one.n_samples)
        return _result(one.header, one.n_samples, one.remarks)

    def convert(self, name: str, source: Path, path: Path, on_progress: Progress) -> Result:
        """See Converter."""
        with self._source(source, name) as audio, path.open("wb") as sink:
            estimate = audio.n_samples or _guess_samples(source, audio)
            encoding = self._encoding(audio, self._chosen(audio, source)[1])
            writer = write_whole(encoding, audio, sink, lambda n: on_progress(n / max(1, estimate)))
            return _result(writer.header, encoding.n_samples, _remarks(encoding, audio))

    def segment(
        self, name: str, source: Path, number: int, count: int, on_progress: Progress
    ) -> CodedSegment:
        """See SegmentConverter. One segment has all if the length or the codec forbid more."""
        with self._source(source, name) as audio:
            loaded, options = self._chosen(audio, source)
            pieces = _pieces(loaded.codec, audio, number, count)
            if not pieces:
                return CodedSegment([], None)
            encoding = self._encoding(audio, options, pieces)
            coder = coder_for(encoding.header(audio.n_samples))
            n_all = (audio.n_samples or _guess_samples(source, audio)) / audio.sample_rate_hz
            packets: list[CodedPacket] = []
            for packet in encoding.packets(audio, coder):
                packets.append(packet)
                on_progress(packet.n_frames / encoding.codec.config.frame_rate_hz / n_all)
            n_samples = encoding.n_samples if encoding.is_finished else None
            return CodedSegment(packets, n_samples, _of_source(audio))

    def album(
        self, sources: Sequence[tuple[str, PathOpener]], on_progress: Callable[[int, float], None]
    ) -> Iterator[tuple[int, Callable[[Path], Result]]]:
        """See AlbumConverter."""
        seconds: dict[int, float] = {}

        @contextmanager
        def opened(number: int) -> Iterator[AudioSource]:
            name, fetch = sources[number]
            with fetch() as path, self._source(path, name) as audio:
                n_samples = audio.n_samples or _guess_samples(path, audio)
                seconds[number] = max(1, n_samples) / audio.sample_rate_hz
                yield audio

        def write(track: Track, path: Path) -> Result:
            with path.open("wb") as sink:
                done = track.write(sink)
            remarks = _said(done.left_out, done.damage, done.remarks)
            return Result(done.seconds, remarks, options.model.model_id, done.n_coded_channels)

        options = self._usual.options
        if self._stereo is not None and sources:
            with suppress(AudioError, OSError), opened(0) as first:
                options = self._chosen(first, None)[1]
        for track in encode_gapless(
            [partial(opened, number) for number in range(len(sources))], options,
            device=self._device, on_progress=lambda k, done: on_progress(k, done / seconds[k]),
        ):  # fmt: skip
            yield track.number, partial(write, track)

    def join(self, name: str, source: Path, contents: Sequence[CodedSegment], path: Path) -> Result:
        """See SegmentConverter."""
        n_samples = next(part.n_samples for part in contents if part.n_samples is not None)
        digest = CodesDigest()
        with self._source(source, name) as audio, path.open("wb") as sink:
            encoding = self._encoding(audio, self._chosen(audio, source)[1])
            writer = Writer(sink, encoding.header(n_samples, audio.metadata))
            for packet in (packet for part in contents for packet in part.packets):
                digest.update(packet.digest_bytes)
                writer.write_packet(packet.n_frames, packet.payload, scales=packet.scales)
            writer.finish(digest.digest(), n_samples)
            remarks = (remark for part in contents for remark in part.remarks)
            remarks = (*_remarks(encoding, audio), *dict.fromkeys(remarks))
            return _result(writer.header, n_samples, remarks)

    def check(self, paths: Sequence[Path]) -> list[str]:
        """See Converter."""
        return check_files(paths)

    def _source(self, path: Path, name: str) -> AudioSource:
        return AudioSource(path, name=name, conceal=self._usual.options.conceal)

    def _chosen(self, source: AudioSource, path: Path | None) -> tuple[_Loaded, ResolvedOptions]:
        """Return what codes a source, whose file is read for equal channels if it is given."""
        conceal = self._usual.options.conceal
        equal = source.n_channels > 1 and path is not None and have_equal_channels(
            path, conceal=conceal
        )  # fmt: skip
        is_stereo = is_full_band_stereo(source.sample_rate_hz, source.n_channels, equal)
        loaded = self._stereo if self._stereo is not None and is_stereo else self._usual
        return loaded, replace(loaded.options, equal_channels=equal)

    def _encoding(
        self, source: AudioSource, options: ResolvedOptions, pieces: range = ALL_PIECES
    ) -> Encoding:
        return Encoding(
            source.name, source.sample_rate_hz, source.n_channels, options, pieces=pieces,
            device=self._device,
        )  # fmt: skip


def _pieces(codec: Codec, audio: AudioSource, number: int, count: int) -> range:
    """Return which pieces of a file are in a segment."""
    can_split = codec.has_finite_context and codec.segment_frames == 1
    if audio.n_samples is None or not can_split:
        return ALL_PIECES if number == 0 else range(0)
    n = int(audio.n_samples / audio.sample_rate_hz / PIECE_SECONDS)  # or one more
    if number == count - 1:
        return range(number * n // count, ALL_PIECES.stop)
    return range(number * n // count, (number + 1) * n // count)


def _result(header: Header, n_samples: int, remarks: tuple[str, ...]) -> Result:
    seconds = n_samples / header.source_sample_rate_hz
    return Result(seconds, remarks, header.model_id, header.n_channels)


def _remarks(encoding: Encoding, source: AudioSource) -> tuple[str, ...]:
    return _said(encoding.left_out, source.damage, source.remarks)


def _of_source(source: AudioSource) -> tuple[str, ...]:
    return _said((), source.damage, source.remarks)


def _said(
    left_out: Sequence[str], damage: Sequence[str], remarks: Sequence[str]
) -> tuple[str, ...]:
    without = (f"without {', '.join(left_out)}",) if left_out else ()
    return (*without, *(f"{CONCEALED}{one}" for one in damage), *remarks)


def _alike(clips: Sequence[ShortClip], device: str) -> list[list[ShortClip]]:
    """Return clips of one model and length in groups of what is coded at once, or single ones."""
    by_length: dict[tuple[_Loaded, int, int], list[ShortClip]] = {}
    for clip in clips:
        _, n_channels, n_samples = clip.wav.shape
        if n_samples:
            by_length.setdefault((clip.by, n_channels, n_samples), []).append(clip)
    groups: list[list[ShortClip]] = []
    for (*_, n_samples), alike in by_length.items():
        most = min(ROWS_AT_ONCE[device], SAMPLES_AT_ONCE[device] // n_samples)
        group: list[ShortClip] = []
        for clip in alike:
            if group and sum(len(one.wav) for one in group) + len(clip.wav) > most:
                groups.append(group)
                group = []
            group.append(clip)
        groups.append(group)
    return groups


def _codes_of(clip: ShortClip) -> Codes:
    if clip.codes is None:
        raise AudioError("not coded yet")
    return clip.codes


def _guess_samples(path: Path, source: AudioSource) -> int:
    """Return about how long an MP3 or the like is, for the progress: at 128 kbit/s."""
    return path.stat().st_size // 16_000 * source.sample_rate_hz
