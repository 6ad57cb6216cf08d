"""Samples pushed in, bytes out, and back: as much as is said is known, and no later."""

import gc
import io
import re
import threading
from pathlib import Path

import numpy as np
import pytest
from tiny_models import EACH, noise

import ncodec
from ncodec.decoding import Decoding
from ncodec.encoding.encoder import PIECE_SECONDS
from ncodec.encoding.live import plan_live
from ncodec.errors import AudioError, FormatError, Truncated, UsageError
from ncodec.formats.ncx import Reader
from ncodec.hub.codecs import find, load_codec

RATES = (8000, 44100, *(pytest.param(rate, marks=pytest.mark.slow) for rate in (11025, 24000)))


@pytest.fixture(autouse=True)
def _cache(architectures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NCODEC_CACHE", str(architectures))


def n_channels(model: str) -> int:
    return load_codec(find(model)).config.n_channels


def encoded(encoder: ncodec.StreamEncoder, wav: np.ndarray, n_block: int) -> bytes:
    parts = [encoder.push(wav[:, i : i + n_block]) for i in range(0, wav.shape[1], n_block)]
    return b"".join([*parts, encoder.finish()])


def decoded(blob: bytes) -> np.ndarray:
    return np.concatenate([*Decoding(Reader(io.BytesIO(blob), "stream")).blocks()], axis=1)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("model", EACH)
def test_what_was_pushed_is_known_within_the_latency(model: str, rate: int) -> None:
    """Samples are counted, not time: each has come out when `latency_s` more have gone in."""
    encoder = ncodec.StreamEncoder(rate, n_channels(model), model=model)
    decoder = ncodec.StreamDecoder()
    n_block = rate // 100
    wav = noise(n_channels(model), 400 * n_block)
    n_out, worst = 0, 0.0
    parts = []
    for start in range(0, wav.shape[1], n_block):
        out = decoder.push(encoder.push(wav[:, start : start + n_block]))
        parts.append(out)
        n_out += out.shape[1]
        if start > rate:  # the first frames of a stream may wait for more
            worst = max(worst, (start + n_block - n_out) / rate)
    assert worst <= encoder.latency_s
    parts += [decoder.push(encoder.finish()), decoder.finish()]
    assert sum(part.shape[1] for part in parts) == wav.shape[1]


@pytest.mark.parametrize("model", EACH)
def test_the_latency_is_needed(model: str) -> None:
    """One frame less of latency, and it is refused or packets are shorter."""
    codec = load_codec(find(model))
    frame_s = codec.config.samples_per_frame / codec.config.sample_rate_hz
    with pytest.raises(UsageError, match="ms at least") as refused:
        plan_live(codec, 8000, frame_s / 2)
    least_s = int(re.search(r"takes (\d+) ms", str(refused.value))[1]) / 1000
    least = plan_live(codec, 8000, least_s + 0.001)
    assert least.packet_frames == codec.segment_frames
    longer = plan_live(codec, 8000, least_s + 0.001 + frame_s)
    if codec.segment_frames == 1:
        assert longer.packet_frames == 2
        assert longer.latency_s == pytest.approx(least.latency_s + frame_s)


@pytest.mark.parametrize("rate", [8000, pytest.param(44100, marks=pytest.mark.slow)])
@pytest.mark.parametrize("model", EACH)
def test_cuts_of_what_is_pushed_change_nothing(model: str, rate: int) -> None:
    wav = noise(n_channels(model), 3 * rate + 17)
    made = {
        encoded(ncodec.StreamEncoder(rate, n_channels(model), model=model), wav, n_block)
        for n_block in (rate, 77, 4 * rate)
    }
    assert len(made) == 1
    blob = made.pop()
    whole = decoded(blob)
    assert whole.shape == wav.shape
    for n_bytes in (1, 13, 100_000):
        decoder = ncodec.StreamDecoder()
        parts = [decoder.push(blob[i : i + n_bytes]) for i in range(0, len(blob), n_bytes)]
        parts = [part for part in [*parts, decoder.finish()] if part.size]
        assert np.array_equal(np.concatenate(parts, axis=1), whole)


@pytest.mark.parametrize("model", EACH)
def test_packets_depend_on_each_other_but_a_key_packet_comes_every_ten_seconds(model: str) -> None:
    wav = noise(n_channels(model), 25 * 8000)
    encoder = ncodec.StreamEncoder(8000, n_channels(model), model=model)
    packets = list(Reader(io.BytesIO(encoded(encoder, wav, 8000))))
    frame_s = encoder.header.samples_per_frame / encoder.header.sample_rate_hz
    key_s, at_s = [], 0.0
    for packet in packets:
        if not packet.dependent:
            key_s.append(at_s)
        at_s += packet.n_frames * frame_s
    assert len(key_s) == 3
    assert all(abs(found - wanted) < 1.5 for found, wanted in zip(key_s, (0, 10, 20), strict=True))


def test_a_live_stream_sounds_like_the_file_of_the_same_audio(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The shipped model: a level that follows the past costs little."""
    monkeypatch.delenv("NCODEC_CACHE")
    t = np.arange(24000 * 8) / 24000
    wav = (0.2 * np.sin(2 * np.pi * 220 * t * (1 + 0.01 * np.sin(t))) * (1 + np.sin(3 * t)) / 2)[
        None
    ]
    wav = np.concatenate([np.zeros((1, 24000)), wav, 0.02 * wav], axis=1).astype(np.float32)
    encoder = ncodec.StreamEncoder(24000, entropy="packed", effort=1)
    live = decoded(encoded(encoder, wav, 2400))
    file, _ = ncodec.decode(ncodec.encode(wav, 24000, entropy="packed", effort=1))

    def error_db(made: np.ndarray) -> float:
        return 10 * float(np.log10(((made - wav) ** 2).sum() / (wav**2).sum()))

    assert error_db(live) < error_db(file) + 0.5
    assert error_db(file) < -10


@pytest.mark.quick
def test_files_are_decoded_from_a_stream_as_well() -> None:
    wav = noise(1, 40_000)
    blob = ncodec.encode(wav, 8000, model="spectral-tiny")
    with ncodec.StreamDecoder() as decoder:
        assert decoder.push(blob[:20]).shape == (0, 0)
        assert decoder.header is None
        got = [decoder.push(blob[20:]), decoder.finish()]
        assert decoder.header is not None
    assert np.array_equal(np.concatenate(got, axis=1), decoded(blob))


def test_damage_is_raised_after_what_comes_before_it() -> None:
    encoder = ncodec.StreamEncoder(8000, model="spectral-tiny")
    blob = bytearray(encoded(encoder, noise(1, 16_000), 800))
    blob[len(blob) * 2 // 3] ^= 1
    decoder = ncodec.StreamDecoder("radio")
    assert decoder.push(bytes(blob)).shape[1] > 4000
    with pytest.raises(FormatError, match="radio: packet"):
        decoder.finish()
    decoder = ncodec.StreamDecoder("radio")
    assert decoder.push(bytes(blob[: len(blob) // 2])).shape[1] > 4000
    with pytest.raises(Truncated):
        decoder.finish()


def test_what_is_given_up_leaves_no_thread() -> None:
    before = threading.active_count()
    with ncodec.StreamDecoder() as decoder:
        decoder.push(b"\x8eNCX")
    other = ncodec.StreamDecoder()
    other.push(b"\x8eNCX")
    thread = other._thread
    del other, decoder
    gc.collect()
    thread.join(timeout=30)
    assert threading.active_count() == before


@pytest.mark.quick
def test_errors() -> None:
    with pytest.raises(UsageError, match="sample rate"):
        ncodec.StreamEncoder(0)
    with pytest.raises(UsageError, match="a latency of 1 ms: it takes"):
        ncodec.StreamEncoder(8000, model="spectral-tiny", latency_s=0.001)
    encoder = ncodec.StreamEncoder(8000, model="spectral-tiny")
    with pytest.raises(AudioError, match="2 channels, expected 1"):
        encoder.push(np.zeros((2, 5), np.float32))
    assert encoder.latency_s < PIECE_SECONDS
