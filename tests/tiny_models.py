"""Tiny models of all architectures, and files made with them: in short packets, live, damaged."""

import functools
import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from snac_codes import spread_codes

import ncodec
from ncodec.bitstream.codes import CodesWriter, decode_packets
from ncodec.bitstream.repack import Wanted, repack
from ncodec.bitstream.span_codes import chunk_of, codec_for
from ncodec.decoding import DecodeOptions, Decoding, RecoveringReader
from ncodec.formats.ncx import Header, Reader, Writer
from ncodec.formats.streams import Readable
from ncodec.hub.codecs import save_codec
from ncodec.models.registry import architecture
from ncodec.models.snac import Snac
from ncodec.models.torch_codec import TorchCodec
from ncodec.nn.factorised import FactorisedQuantiser

PRESETS = {
    "spectral-tiny": "spectral",
    "soundstream-tiny": "soundstream",
    "hilcodec-tiny": "hilcodec",
    "dac-tiny": "dac",
    "mimi-tiny": "mimi",
    "encodec-tiny": "encodec",
    "encodec-tiny-stereo": "encodec",
    "encodec-tiny-ahead": "encodec",
    "snac-tiny": "snac",
    "snac-tiny-windows": "snac",
}
STOOD_FOR = ("soundstream-tiny", "snac-tiny")  # by hilcodec-tiny and snac-tiny-windows
EACH = [
    pytest.param(preset, marks=pytest.mark.slow) if preset in STOOD_FOR else preset
    for preset in PRESETS
]
RATES = (8000, 11025, 44100, 48000)  # 8000 is that of all models
EACH_RATE = [
    rate if rate in (8000, 44100) else pytest.param(rate, marks=pytest.mark.slow) for rate in RATES
]
PACKET_FRAMES = 60  # whole segments


def save_models(folder: Path) -> None:
    """Put a model of every preset into a cache; with random weights, so that no path is silent."""
    (folder / "models").mkdir()
    for preset, name in PRESETS.items():
        torch.manual_seed(7)
        kind = architecture(name)
        codec = kind(kind.presets[preset])
        with torch.no_grad():
            for parameter in codec.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        fit_codebooks(codec)
        save_codec(folder / "models" / f"{preset}.safetensors", preset, codec, {}, torch.float32)


def save_stereo_model(folder: Path) -> None:
    """Put a model into a cache that has the name of the one for full-band stereo."""
    (folder / "models").mkdir()
    torch.manual_seed(7)
    codec = architecture("encodec")(architecture("encodec").presets["encodec-tiny-stereo"])
    path = folder / "models" / "spectral-48k.safetensors"
    save_codec(path, "spectral-48k", codec, {}, torch.float32)


@torch.no_grad()
def fit_codebooks(codec: TorchCodec) -> None:
    """Draw the codebooks at the size of the latents, so that noise uses all of the codes."""
    if isinstance(codec, Snac):
        spread_codes(codec)
        return
    seen: list[torch.Tensor] = []

    def see(latents: torch.Tensor) -> torch.Tensor:
        seen.append(latents)
        return latents

    codec.reconstruct(0.2 * torch.randn(1, codec.config.n_channels, 8000), see)
    latents, quantiser = seen[0].flatten(0, 1), codec.quantiser
    if isinstance(quantiser, FactorisedQuantiser):
        quantiser.codewords.copy_(torch.randn(quantiser.codewords.shape))
        width = quantiser.codewords.shape[2] ** -0.5
        drawn = torch.randn(quantiser.out_weight.shape)
        quantiser.out_weight.copy_(drawn * latents.std(0)[:, None] * width)
        quantiser.out_bias[0] = latents.mean(0)
        quantiser.in_weight.copy_(torch.linalg.pinv(quantiser.out_weight))
        codec.get_parameter("decoder.layers.17.weight").mul_(0.1)  # not all is cut off at 1
        quantiser.in_bias.copy_(-(quantiser.in_weight @ quantiser.out_bias[..., None])[..., 0])
        return
    codebooks = quantiser.codebooks
    codebooks.copy_(torch.randn(codebooks.shape) * latents.std(0))
    codebooks[0] += latents.mean(0)


def noise(n_channels: int, n_samples: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (0.2 * rng.standard_normal((n_channels, n_samples))).astype(np.float32)


@functools.lru_cache(maxsize=64)
def song(
    preset: str = "spectral-tiny", rate: int = 8000, n_channels: int = 1, seconds: float = 4.03,
    packet_frames: int = PACKET_FRAMES, seed: int = 0,
) -> bytes:  # fmt: skip
    """A file of short packets, two codebooks, packed; three for a codec that cannot use two."""
    wav, n_q = noise(n_channels, round(seconds * rate), seed), 3 if "snac" in preset else 2
    blob = ncodec.encode(wav, rate, model=preset, n_q=n_q, entropy="packed", effort=1)
    return in_packets(blob, lambda frame: packet_frames)


def in_packets(
    blob: bytes, n_frames_at: Callable[[int], int],
    is_dependent: Callable[[int], bool] | None = None,
    **changes: object,
) -> bytes:  # fmt: skip
    """Cut the codes of a file into other packets.

    n_frames_at   frames of the packet that starts at a frame
    is_dependent  whether a packet of some number depends on the one before it
    changes       of the header
    """
    reader = Reader(io.BytesIO(blob), "song.ncx")
    header = replace(reader.header, **changes)  # type: ignore[arg-type]
    codec, sink = codec_for(reader), io.BytesIO()
    writer = CodesWriter(Writer(sink, header))
    frame = number = 0
    for packet, codes in decode_packets(reader):
        chunk, first = chunk_of(packet, codes), 0
        while first < packet.n_frames:
            end = min(first + n_frames_at(frame), packet.n_frames)
            piece = codec.cut(chunk, first, end)
            scales = tuple(piece.scales.flatten().tolist())
            dependent = is_dependent is not None and is_dependent(number)
            writer.write(piece.codes, scales, dependent=dependent)
            frame, first, number = frame + end - first, end, number + 1
    assert reader.n_samples is not None
    writer.finish(reader.n_samples)
    return sink.getvalue()


def live(blob: bytes, n_chain: int = 3, entropy: int = 1) -> bytes:
    """The same as a live stream: adaptive, one key packet in `n_chain`, the length at the end."""
    return in_packets(
        blob, lambda frame: PACKET_FRAMES, lambda number: number % n_chain > 0, n_samples=None,
        entropy=entropy,
    )  # fmt: skip


@functools.cache
def long_song(n_packets: int, n_frames: int = 60, *, is_live: bool = False) -> bytes:
    """A long file of random codes."""
    n_samples = n_packets * n_frames * 80
    header = replace(header_of(song("hilcodec-tiny")), n_samples=None if is_live else n_samples)
    sink, rng = io.BytesIO(), np.random.default_rng(0)
    writer = CodesWriter(Writer(sink, header))
    for number in range(n_packets):
        codes = rng.integers(0, header.codebook_size, (1, header.n_codebooks, n_frames))
        writer.write(codes, dependent=is_live and number % 4 > 0)
    writer.finish(n_samples)
    return sink.getvalue()


def edges(blob: bytes) -> list[int]:
    """The sample, at the source's rate, that each packet of a run starts with, and the end."""
    reader = Reader(io.BytesIO(blob))
    codec, frame, found = codec_for(reader), 0, [0]
    for packet in reader:
        frame += packet.n_frames
        place = codec.first_sample(frame) * reader.header.source_sample_rate_hz
        found.append(place // reader.header.sample_rate_hz)
    assert reader.n_samples is not None
    return [*found[:-1], reader.n_samples]


def header_of(blob: bytes) -> Header:
    return Reader(io.BytesIO(blob)).header


def places(blob: bytes) -> list[tuple[int, int]]:
    """Where each packet lies."""
    return [(packet.offset, packet.offset + packet.n_bytes) for packet in Reader(io.BytesIO(blob))]


def damaged(blob: bytes, *numbers: int) -> bytes:
    """A file some of whose packets have a wrong byte."""
    spoilt = bytearray(blob)
    where = places(blob)
    for number in numbers:
        spoilt[where[number][1] - 7] ^= 0x55
    return bytes(spoilt)


def concealed(blob: bytes, **options: object) -> tuple[np.ndarray, Decoding]:
    """What `ncodec decode --conceal` makes of a file."""
    recovery = RecoveringReader(io.BytesIO(blob), "song.ncx")
    decoding = Decoding(recovery, DecodeOptions(**options))  # type: ignore[arg-type]
    empty = np.zeros((decoding.n_channels, 0), np.float32)
    return np.concatenate([empty, *decoding.blocks()], axis=1), decoding


def close_to(found: np.ndarray, wanted: np.ndarray, scale: float | None = None) -> bool:
    """Whether audio is the same within 1e-4 of full scale, or of its own peak above that."""
    assert found.shape == wanted.shape
    if not wanted.size:
        return True
    peak = max(1.0, float(np.abs(wanted).max()) if scale is None else scale)
    return float(np.abs(found - wanted).max()) <= 1e-4 * peak


class Counting(io.BytesIO):
    """A file that counts what is read of it."""

    n_read = 0

    def read(self, size: int | None = -1, /) -> bytes:
        chunk = super().read(size)
        self.n_read += len(chunk)
        return chunk

    def read1(self, size: int | None = -1, /) -> bytes:
        return self.read(size)


class Pipe:
    """A stream that cannot seek and gives at most `step` bytes at a time."""

    def __init__(self, content: bytes, step: int = 1000) -> None:
        self._stream, self._step = io.BytesIO(content), step

    def read(self, size: int, /) -> bytes:
        return self._stream.read(min(size, self._step))


@contextmanager
def opened(stream: Readable, name: str = "song.ncx") -> Iterator[Reader]:
    """What an opener gives."""
    yield Reader(stream, name)


def opener(blob: bytes, name: str = "song.ncx") -> Callable[[], AbstractContextManager[Reader]]:
    """What `repack` takes."""
    return lambda: opened(io.BytesIO(blob), name)


def repacked(*blobs: bytes, **wanted: object) -> bytes:
    """What `repack` makes of files."""
    sink = io.BytesIO()
    repack([opener(blob) for blob in blobs], sink, Wanted(**wanted))  # type: ignore[arg-type]
    return sink.getvalue()
