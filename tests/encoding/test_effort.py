"""Levels of effort and of quality, in files: which search there is, and that all decode."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import ncodec
from ncodec.bitstream.codes import CodesWriter, decode_packets
from ncodec.encoding.effort import LEVELS, SLOPE, choose_search, n_q_of_quality
from ncodec.encoding.options import EncodeOptions
from ncodec.entropy.search import RateDistortionSearch
from ncodec.entropy.torch_search import nearest
from ncodec.errors import UsageError
from ncodec.formats.ncx import Reader, Writer
from ncodec.hub.codecs import find, load_torch_codec
from ncodec.hub.entropy_models import Entropy, choose_entropy
from ncodec.models import EFFORTS

RATE_HZ = 8000


@pytest.fixture(autouse=True)
def _models(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NCODEC_CACHE", str(cache))


def noise(n_channels: int = 1, seconds: float = 12.5) -> np.ndarray:
    rng = np.random.default_rng(2)
    return (0.1 * rng.standard_normal((n_channels, round(seconds * RATE_HZ)))).astype(np.float32)


def encode(wav: np.ndarray, **options: object) -> bytes:
    return ncodec.encode(wav, RATE_HZ, **{"model": "modelled", **options})  # type: ignore[arg-type]


def payload_bytes(blob: bytes) -> int:
    return sum(len(packet.payload) for packet, _ in decode_packets(Reader(io.BytesIO(blob))))


def test_levels_of_effort_make_files_that_decode() -> None:
    wav = noise(2, seconds=3)
    blobs = {effort: encode(wav, effort=effort) for effort in (*EFFORTS, None, 4)}
    assert blobs[None] == blobs["default"]
    assert blobs["fast"] == blobs[4]  # this model's own beam
    assert len(set(blobs.values())) == 3
    for blob in blobs.values():
        assert ncodec.decode(blob)[0].shape == wav.shape


def test_a_level_that_weighs_bits_takes_fewer() -> None:
    wav = noise()
    fast, default, best = (payload_bytes(encode(wav, effort=effort)) for effort in EFFORTS)
    assert default < fast
    assert best < fast


def test_any_reader_decodes_what_was_searched() -> None:
    """The codes, packed plainly, are those of the file, and sound alike."""
    blob = encode(noise(2), effort="best")
    reader, sink = Reader(io.BytesIO(blob)), io.BytesIO()
    header = replace(reader.header, entropy=0, entropy_model_id="", entropy_fingerprint=b"")
    packed = CodesWriter(Writer(sink, header))
    for packet, codes in decode_packets(reader):
        packed.write(codes, packet.scales)
    packed.finish(reader.header.n_samples or 0)
    np.testing.assert_array_equal(ncodec.decode(sink.getvalue())[0], ncodec.decode(blob)[0])


@pytest.mark.parametrize("options", [{"entropy": "adaptive"}, {"entropy": "packed"},
                                     {"model": "tiny"}])  # fmt: skip
def test_without_a_transformer_no_bits_are_weighed(options: dict[str, str]) -> None:
    wav = noise(seconds=2)
    fast, default, best, wide = (encode(wav, effort=effort, **options) for effort in (*EFFORTS, 16))
    assert default == fast
    assert best == wide


@pytest.mark.quick
def test_live_streams_weigh_no_bits() -> None:
    streams = []
    for effort in ("fast", "default"):
        encoder = ncodec.StreamEncoder(
            RATE_HZ, model="modelled", entropy="transformer", effort=effort
        )
        streams.append(encoder.push(noise(seconds=2)) + encoder.finish())
    assert streams[0] == streams[1]


def test_a_packet_is_searched_for_itself() -> None:
    wav = noise(seconds=40)
    whole = [codes for _, codes in decode_packets(Reader(io.BytesIO(encode(wav))))]
    assert len(whole) == 4
    model = find("modelled")
    codec, seen = load_torch_codec(model), []

    def see(latents: torch.Tensor, codebooks: torch.Tensor) -> torch.Tensor:
        seen.append(latents)
        return nearest(latents, codebooks)[0]

    state = codec.start_encoder(1, search=see)
    with torch.inference_mode():
        for start in range(0, wav.shape[1], 10 * RATE_HZ):
            piece = torch.from_numpy(wav[None, :, start : start + 10 * RATE_HZ])
            codec.encode_chunk(piece, state, 4, last=start == 30 * RATE_HZ)
        search = choose_search("default", codec, 4, choose_entropy(model, None, 4))
        for latents, codes in zip(reversed(seen), reversed(whole), strict=True):
            found = codec.quantiser.encode(latents, 4, search)
            np.testing.assert_array_equal(found.numpy(), codes)


@pytest.mark.quick
def test_which_search_there_is() -> None:
    model = find("modelled")
    codec, entropy = load_torch_codec(model), choose_entropy(model, None, 4)
    found = choose_search("default", codec, 4, entropy)
    assert isinstance(found, RateDistortionSearch)
    assert (found.multiplier, found.beam_width) == (SLOPE / 4, LEVELS["default"].beam_width)
    best = choose_search("best", codec, 2, entropy, quality=10)
    assert isinstance(best, RateDistortionSearch)
    assert best.multiplier == SLOPE / 4
    assert choose_search("fast", codec, 4, entropy) == codec.default_beam_width == 4
    assert choose_search(7, codec, 4, entropy) == 7
    assert choose_search("best", codec, 4, Entropy("adaptive")) == 16
    assert choose_search("default", codec, 4) == 4


def test_quality_is_a_number_of_codebooks_and_what_a_bit_is_worth() -> None:
    assert [n_q_of_quality(quality, 16) for quality in range(11)] == [
        1, 1, 2, 2, 3, 4, 5, 7, 9, 12, 16,
    ]  # fmt: skip
    assert [n_q_of_quality(quality, 32) for quality in (0, 2.5, 5, 7.5, 10)] == [2, 4, 8, 16, 32]
    assert n_q_of_quality(0, 4) == 1
    options = EncodeOptions("modelled", quality=7.5)
    assert options.resolve().n_q == 2
    assert replace(options, n_q=3).resolve().n_q == 3
    assert replace(options, bandwidth_kbps=1.6, quality=0).resolve().n_q == 4


def test_less_quality_takes_fewer_bits() -> None:
    wav = noise(seconds=3)
    spent = [payload_bytes(encode(wav, n_q=4, quality=quality)) for quality in (10, 7, 4, 0)]
    assert spent == sorted(spent, reverse=True)
    assert len(set(spent)) == 4
    assert encode(wav, n_q=4) == encode(wav, quality=10) == encode(wav, n_q=4, quality=10.0)
    assert Reader(io.BytesIO(encode(wav, quality=5))).header.n_codebooks == 1


@pytest.mark.parametrize("quality", [-1, 10.5, float("nan"), float("inf")])
def test_refuses_a_quality_that_there_is_not(quality: float) -> None:
    with pytest.raises(UsageError, match=f"quality {quality:g}: expected 0 to 10"):
        encode(noise(seconds=0.1), quality=quality)
