"""The main path, as a library: lengths, codes, threads, and what it refuses."""

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ncodec
from ncodec import codec as main_path
from ncodec.audio import Metadata, Resampler
from ncodec.decoding import DecodeOptions
from ncodec.encoding.options import EncodeKeywords, EncodeOptions
from ncodec.errors import (
    AudioError,
    InvalidField,
    LimitExceeded,
    ModelMismatch,
    ModelMissing,
    Truncated,
    UsageError,
)
from ncodec.formats.ncx import Header, Reader, Writer
from ncodec.native.threads import set_n_threads

RATE_HZ = 8000
HOP = 80


@pytest.fixture(autouse=True)
def _tiny_model(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NCODEC_CACHE", str(cache))


def noise(n_channels: int, n_samples: int) -> np.ndarray:
    rng = np.random.default_rng(n_samples)
    return (0.1 * rng.standard_normal((n_channels, n_samples))).astype(np.float32)


def encode(wav: np.ndarray, rate: int = RATE_HZ, **options: object) -> bytes:
    return ncodec.encode(wav, rate, **{"model": "tiny", **options})  # type: ignore[arg-type]


@pytest.mark.parametrize("rate", [8000, 11025, 24000, 44100, 48000, 96000, 192000])
@pytest.mark.parametrize("n_samples", [0, 1, 79, 80, 81, 4321])
@pytest.mark.parametrize("n_channels", [1, 2])
def test_as_many_samples_come_back(rate: int, n_samples: int, n_channels: int) -> None:
    wav, back_rate = ncodec.decode(encode(noise(n_channels, n_samples), rate))
    assert back_rate == rate
    assert wav.shape == (n_channels, n_samples)
    assert wav.dtype == np.float32


@pytest.mark.quick
@pytest.mark.parametrize("n_samples", [79_999, 80_000, 80_001, 90_000, 90_001, 170_000])
def test_lengths_around_a_packet(n_samples: int) -> None:
    blob = encode(noise(1, n_samples))
    packets = list(Reader(io.BytesIO(blob)))
    assert sum(packet.n_frames for packet in packets) == -(-n_samples // HOP) + 1
    assert ncodec.decode(blob)[0].shape == (1, n_samples)


def test_a_clip_just_over_a_packet_is_one_packet() -> None:
    assert len(list(Reader(io.BytesIO(encode(noise(1, 90_000)))))) == 1
    assert len(list(Reader(io.BytesIO(encode(noise(1, 90_001)))))) == 2


def test_takes_tensors_and_single_channels() -> None:
    wav = noise(1, 1000)
    assert encode(torch.from_numpy(wav)) == encode(wav) == encode(wav[0])  # type: ignore[arg-type]


def test_five_channels_are_five_streams(tmp_path: Path) -> None:
    wav = noise(5, 2000)
    path = tmp_path / "five.ncx"
    path.write_bytes(encode(wav, n_q=3))
    codes = ncodec.read_codes(path)
    assert codes.shape == (5, 3, 26)
    alone = tmp_path / "alone.ncx"
    alone.write_bytes(encode(wav[2:3], n_q=3))
    assert (ncodec.read_codes(alone)[0] == codes[2]).mean() > 0.99


@pytest.mark.quick
def test_entropy_coders_carry_the_same_codes(tmp_path: Path) -> None:
    wav, codes = noise(2, 3000), []
    for entropy in ("packed", "adaptive"):
        path = tmp_path / entropy
        path.write_bytes(encode(wav, entropy=entropy))
        codes.append(ncodec.read_codes(path))
    assert np.array_equal(*codes)


def test_same_bytes_on_one_thread_and_two_and_side_by_side(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wavs = [noise(1 + number % 2, 30_000 + 1000 * number) for number in range(6)]
    wavs.append(noise(1, 400_000))  # several packets
    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # comes back after the test
    try:
        set_n_threads(1)
        alone = [encode(wav) for wav in wavs]
        heard = [ncodec.decode(blob)[0] for blob in alone]
        set_n_threads(2)
        assert [encode(wav) for wav in wavs] == alone
        with ThreadPoolExecutor(3) as pool:
            assert list(pool.map(encode, wavs)) == alone
            for (wav, _), wanted in zip(pool.map(ncodec.decode, alone), heard, strict=True):
                assert np.array_equal(wav, wanted)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


class PipeSource:
    """A source that does not know its length, as a pipe."""

    name, sample_rate_hz, n_channels, n_samples = "pipe", RATE_HZ, 1, None
    has_metadata = True

    def __init__(self, wav: np.ndarray) -> None:
        self.wav = wav
        self.metadata = Metadata((("TITLE", "Live"),))

    def blocks(self, n: int) -> Iterator[np.ndarray]:
        for start in range(0, self.wav.shape[1], n):
            yield self.wav[:, start : start + n]


class Sink:
    """A stream that is only written to."""

    def __init__(self) -> None:
        self.content = bytearray()

    def write(self, content: bytes | memoryview, /) -> int:
        self.content += content
        return len(content)


def test_unknown_length_is_in_the_trailer() -> None:
    wav, sink = noise(1, 100_007), Sink()
    taken: list[int] = []
    found = main_path.encode_audio(
        PipeSource(wav), sink, EncodeOptions("tiny", n_q=4).resolve(), on_progress=taken.append
    )
    reader = Reader(io.BytesIO(sink.content))
    assert reader.header.n_samples is None
    assert reader.header.tag("title") == ("Live",)
    assert ncodec.decode(bytes(sink.content))[0].shape == (1, 100_007)
    assert found.n_samples == sum(taken) == 100_007
    assert found.n_bytes == len(sink.content)
    known = encode(wav, tags={"TITLE": "Live"})
    assert [p.payload for p in Reader(io.BytesIO(known))] == [p.payload for p in reader]


def test_unknown_length_is_in_the_header_of_what_can_seek() -> None:
    wav, sink = noise(1, 100_007), io.BytesIO()
    found = main_path.encode_audio(PipeSource(wav), sink, EncodeOptions("tiny", n_q=4).resolve())
    assert sink.getvalue() == encode(wav, tags={"TITLE": "Live"})
    assert found.n_bytes == len(sink.getvalue())


def test_without_trailer_an_unknown_length_is_an_error() -> None:
    sink = io.BytesIO()
    options = EncodeOptions("tiny", n_q=4).resolve()
    main_path.encode_audio(PipeSource(noise(1, 9000)), sink, options)
    with pytest.raises(Truncated):
        ncodec.decode(sink.getvalue()[:-30])


def test_source_that_breaks_its_word_is_an_error() -> None:
    source = PipeSource(noise(1, 900))
    source.n_samples = 901
    with pytest.raises(AudioError, match="901 samples were announced, 900 were read"):
        main_path.encode_audio(source, io.BytesIO(), EncodeOptions("tiny", n_q=4).resolve())


def test_codec_rate_leaves_out_the_resampler() -> None:
    wav = noise(1, 48_000)
    reader = Reader(io.BytesIO(encode(wav, 48_000)))
    decoding = main_path.Decoding(reader, DecodeOptions(codec_rate=True))
    assert (decoding.sample_rate_hz, decoding.n_samples) == (RATE_HZ, 8000)
    at_codec = np.concatenate(list(decoding.blocks()), axis=1)
    at_source = ncodec.decode(encode(wav, 48_000))[0]
    resampler = Resampler(RATE_HZ, 48_000, 1)
    np.testing.assert_allclose(resampler.push(at_codec, last=True), at_source, atol=1e-6)


@pytest.mark.quick
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"bandwidth_kbps": 0.5}, UsageError, "0.5 kbps: expected a multiple of 0.4"),
        ({"n_q": 5}, UsageError, "5 codebooks.*1 to 4"),
        ({"n_q": 0}, UsageError, "0 codebooks"),
        ({"n_q": 2, "bandwidth_kbps": 0.8}, UsageError, "not both"),
        ({"model": "nowhere"}, ModelMissing, "'nowhere'.*tiny"),
        ({"entropy": "magic"}, UsageError, "magic"),
    ],
)
def test_refuses_options(options: dict[str, object], error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        encode(noise(1, 100), **options)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_refuses_what_is_not_finite(value: float) -> None:
    wav = noise(1, 100)
    wav[0, 50] = value
    with pytest.raises(AudioError, match="not finite"):
        encode(wav)


def test_refuses_other_shapes() -> None:
    with pytest.raises(AudioError, match=r"\(2, 3, 4\)"):
        encode(np.zeros((2, 3, 4), np.float32))


def rewritten(blob: bytes, **changes: object) -> bytes:
    """Return a file with another header, everything behind it as it was."""
    reader = Reader(io.BytesIO(blob))
    packets = list(reader)
    assert reader.trailer is not None
    sink = io.BytesIO()
    header: Header = replace(reader.header, **changes)  # type: ignore[arg-type]
    writer = Writer(sink, header)
    for packet in packets:
        writer.write_packet(packet.n_frames, packet.payload, scales=packet.scales)
    writer.finish(reader.trailer.codes_digest, header.n_samples)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"model_fingerprint": b"\1\2\3\4"}, ModelMismatch, "weights 01020304 of model 'tiny'"),
        ({"model_id": "other"}, ModelMissing, "'other'"),
        ({"architecture": 2}, InvalidField, "architecture is 2"),
        ({"samples_per_frame": 81}, InvalidField, "samples_per_frame is 81"),
        ({"sample_rate_hz": 16000}, InvalidField, "sample_rate_hz is 16000"),
        ({"n_samples": 10**15}, InvalidField, "need 12500000000001 frames"),
        ({"n_samples": 5}, InvalidField, "need 2 frames"),
    ],
)
def test_refuses_headers_that_contradict_the_model(
    changes: dict[str, object], error: type, message: str
) -> None:
    with pytest.raises(error, match=message):
        ncodec.decode(rewritten(encode(noise(1, 900)), **changes))


def test_refuses_a_packet_without_its_scale() -> None:
    reader = Reader(io.BytesIO(encode(noise(1, 900))))
    (packet,) = reader
    sink = io.BytesIO()
    writer = Writer(sink, reader.header)
    writer.write_packet(packet.n_frames, packet.payload)
    assert reader.trailer is not None
    writer.finish(reader.trailer.codes_digest)
    with pytest.raises(InvalidField, match="packet 0 at byte .*: 0 scales, .* has 1"):
        ncodec.decode(sink.getvalue())


def test_overhead_of_a_ten_second_clip() -> None:
    blob = encode(noise(1, 80_000), entropy="packed", n_q=4)
    payload = sum(len(packet.payload) for packet in Reader(io.BytesIO(blob)))
    assert len(blob) - payload < 75


def test_frames_beyond_the_length_are_refused_before_they_are_decoded() -> None:
    reader = Reader(io.BytesIO(encode(noise(1, 900))))
    list(reader)
    for n_samples, error in ((100, InvalidField), (10**9, LimitExceeded)):
        sink = io.BytesIO()
        writer = Writer(sink, replace(reader.header, n_samples=n_samples))
        writer.write_packet(65535, b"", scales=(1.0,))
        writer.finish(b"none")
        with pytest.raises(error, match="packet 0 at byte .*: 65535 frames"):
            ncodec.decode(sink.getvalue())


def test_the_callers_settings_are_its_own_while_a_file_is_decoded() -> None:
    blob = encode(noise(1, 200_000))
    blocks = [main_path.Decoding(Reader(io.BytesIO(blob))).blocks() for _ in range(2)]
    for some in blocks:
        next(some)
    assert not torch.is_inference_mode_enabled()
    for some in blocks:
        list(some)
    assert not torch.is_inference_mode_enabled()


def test_effort_is_the_models_own_choice_unless_given() -> None:
    wav = noise(2, 8000)
    by_effort = {effort: encode(wav, effort=effort) for effort in (None, 1, 4, 64)}
    assert by_effort[None] == by_effort[4]
    assert len(set(by_effort.values())) == 3
    for blob in by_effort.values():
        assert ncodec.decode(blob)[0].shape == (2, 8000)


def test_keywords_are_the_fields_of_the_options() -> None:
    assert [*EncodeKeywords.__annotations__] == [field.name for field in fields(EncodeOptions)]


@pytest.mark.parametrize("effort", [0, -1, 65, "much", True, 2.0])
def test_refuses_an_effort_that_there_is_not(effort: int) -> None:
    with pytest.raises(UsageError, match=f"effort {effort}: expected fast, default, best, or 1 to"):
        encode(noise(1, 100), effort=effort)


@pytest.mark.parametrize(
    "wav", [np.zeros(100, np.int16), np.zeros(100, complex), "wav", np.zeros((100, 2))]
)
def test_refuses_what_is_not_audio(wav: object) -> None:
    with pytest.raises(AudioError, match="array: "):
        ncodec.encode(wav, RATE_HZ, model="tiny")


def test_takes_tensors_of_any_floating_type_that_need_gradients() -> None:
    wav = torch.zeros(1, 100, dtype=torch.bfloat16, requires_grad=True)
    assert ncodec.decode(ncodec.encode(wav, RATE_HZ, model="tiny"))[0].shape == (1, 100)


def test_refuses_a_sample_rate_that_is_no_whole_number() -> None:
    for rate in (48000.0, True, 0, "8000"):
        with pytest.raises(UsageError, match=f"sample rate {rate!r}: expected a positive whole"):
            encode(noise(1, 100), rate)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="sample rate"):
            ncodec.decode(encode(noise(1, 100)), sample_rate_hz=rate)  # type: ignore[arg-type]
    assert encode(noise(1, 100), np.int64(8000)) == encode(noise(1, 100), 8000)


@pytest.mark.parametrize("rate", [1, 8000, 48000, 1_000_000])
def test_decodes_to_another_rate(rate: int) -> None:
    wav = np.sin(np.arange(44100, dtype=np.float32) / 40)[None]
    blob = encode(wav, 44100)
    found, found_rate = ncodec.decode(blob, sample_rate_hz=rate)
    assert (found_rate, found.shape) == (rate, (1, rate))
    part, _ = ncodec.decode(blob, sample_rate_hz=rate, start=0, end=1)
    assert part.shape == found.shape
    usual, _ = ncodec.decode(blob)
    if rate == 48000:
        n = 24000  # places of 48 kHz that are whole ones of 44.1 kHz
        step = found[0, :n:160][: n // 160]
        assert np.abs(step - usual[0, : 147 * len(step) : 147]).max() < 0.01


def test_long_tags_and_pictures() -> None:
    tags = {"TITLE": "Short", "COMMENT": "x" * 70_000, "ARTIST": "Also short"}
    pictures = [ncodec.Picture(b"\x89PNG", "image/png")]
    header = Reader(io.BytesIO(encode(noise(1, 100), tags=tags, pictures=pictures))).header
    assert header.tags == tuple(tags.items())
    assert header.pictures == tuple(pictures)
    pairs = [("ARTIST", "A"), ("ARTIST", "B")]
    header = Reader(io.BytesIO(encode(noise(1, 100), tags=pairs))).header
    assert header.tags == tuple(pairs)


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({"K=": "x"}, "tags: tag: the key is 'K='"),
        ({"": "x"}, "tags: tag: the key is ''"),
        ({"K": "\udcff"}, "tags: tag cannot be written as UTF-8"),
        ([("K", 7)], "tags: "),
        ([("K", "x" * 10_000_000)] * 2, "no room for the tag K of 10000000 bytes"),
    ],
    ids=["equals", "empty", "surrogate", "number", "long"],
)
def test_tags_that_a_caller_cannot_give(tags: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        encode(noise(1, 100), tags=tags)
    if isinstance(tags, dict):
        with pytest.raises(UsageError, match=said):
            ncodec.StreamEncoder(8000, tags=tags)
