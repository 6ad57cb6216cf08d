"""Files coded with an entropy model: which one they need, and what damage does to them."""

import contextlib
import io
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from random_network import TINY, random_tensors

import ncodec
from ncodec.bitstream.codes import CodesWriter, decode_packets, iterate_codes, packet_groups
from ncodec.bitstream.inspect import inspect
from ncodec.decoding import Decoding
from ncodec.errors import (
    ChecksumMismatch,
    DigestMismatch,
    FormatError,
    InvalidField,
    ModelInvalid,
    ModelMismatch,
    ModelMissing,
    UsageError,
)
from ncodec.formats.ncx import Header, Packet, Reader, Writer
from ncodec.hub.codecs import find
from ncodec.hub.entropy_models import (
    ENTROPY_MODELS,
    choose_entropy,
    find_exact,
    find_for,
    load_network,
    save_network,
)

RATE_HZ = 8000
PACKET_SECONDS = 10


@pytest.fixture(autouse=True)
def models(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the cache that a test may change."""
    folder = tmp_path / "cache"
    shutil.copytree(cache, folder)
    monkeypatch.setenv("NCODEC_CACHE", str(folder))
    return folder / "models"


def noise(n_channels: int, seconds: float) -> np.ndarray:
    rng = np.random.default_rng(1)
    wav = 0.1 * rng.standard_normal((n_channels, round(seconds * RATE_HZ)))
    return wav.astype(np.float32)


def encoded(n_channels: int = 1, seconds: float = 35, **options: object) -> bytes:
    """A file of the codes that every entropy coder gets."""
    options = {"model": "modelled", "effort": "fast", **options}
    return ncodec.encode(noise(n_channels, seconds), RATE_HZ, **options)  # type: ignore[arg-type]


def codes_of(blob: bytes) -> list[np.ndarray]:
    return list(iterate_codes(Reader(io.BytesIO(blob), "song.ncx")))


def test_it_is_the_default_where_there_is_a_model() -> None:
    header = Reader(io.BytesIO(encoded(seconds=1))).header
    entropy = find_for(find("modelled"))
    assert entropy is not None
    assert (header.entropy, header.entropy_model_id) == (2, "modelled")
    assert header.entropy_fingerprint == entropy.fingerprint
    other = ncodec.encode(noise(1, 1), RATE_HZ, model="tiny")
    assert Reader(io.BytesIO(other)).header.entropy == 3


def test_a_coder_can_be_asked_for() -> None:
    assert choose_entropy(find("modelled"), "packed").name == "packed"
    with pytest.raises(
        ModelMissing, match="no entropy model for 1 codebooks of weights .* of model 'tiny'"
    ):
        choose_entropy(find("tiny"), "transformer")
    with pytest.raises(UsageError, match="'zip' is unknown; expected one of packed, adaptive"):
        choose_entropy(find("tiny"), "zip")


@pytest.mark.parametrize("n_channels", [1, 2, 3])
@pytest.mark.parametrize("n_q", [1, 4])
@pytest.mark.parametrize("seconds", [0, 0.001, 3, 25])
def test_codes_are_those_of_plain_packing(n_channels: int, n_q: int, seconds: float) -> None:
    ours = encoded(n_channels, seconds, n_q=n_q)
    plain = encoded(n_channels, seconds, n_q=n_q, entropy="packed")
    assert len(codes_of(ours)) == len(codes_of(plain)) == math.ceil(seconds / PACKET_SECONDS)
    for found, expected in zip(codes_of(ours), codes_of(plain), strict=True):
        assert np.array_equal(found, expected)
    assert np.array_equal(ncodec.decode(ours)[0], ncodec.decode(plain)[0])


def test_without_its_model_a_file_says_which_one_it_needs(models: Path) -> None:
    blob = encoded(seconds=1)
    path = models / "entropy" / "modelled.safetensors"
    fingerprint = ENTROPY_MODELS.describe(path).fingerprint.hex()
    path.rename(models / "entropy" / "kept")
    with pytest.raises(
        ModelMissing, match=f"song.ncx: made with weights {fingerprint} of entropy model"
    ):
        codes_of(blob)
    decoding = Decoding(Reader(io.BytesIO(blob), "song.ncx"))
    with pytest.raises(
        ModelMissing, match=f"song.ncx: made with weights {fingerprint} of entropy model"
    ):
        list(decoding.blocks())
    save_network(path, "modelled", find("modelled"), TINY, random_tensors(TINY, 4), {})
    with pytest.raises(ModelMismatch, match=f"made with weights {fingerprint} of entropy model"):
        codes_of(blob)
    facts = inspect(io.BytesIO(blob), "song.ncx", decode=True)
    assert facts.is_whole
    assert fingerprint in (facts.unchecked_because or "")


def test_a_model_of_ones_own_comes_before_the_packages(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = models.parent / "package"
    shutil.copytree(models, package)
    monkeypatch.setattr("ncodec.hub.model_files.SHIPPED", package)
    found = find_for(find("modelled"))
    assert found is not None
    assert found.path == models / "entropy" / "modelled.safetensors"
    found.path.unlink()
    found = find_for(find("modelled"))
    assert found is not None
    assert found.path == package / "entropy" / "modelled.safetensors"


def test_a_model_of_too_few_codebooks_is_not_used(models: Path) -> None:
    path = models / "entropy" / "modelled.safetensors"
    config = replace(TINY, n_codebooks=2)
    save_network(path, "modelled", find("modelled"), config, random_tensors(config, 3), {})
    assert choose_entropy(find("modelled"), None, 2).name == "transformer"
    assert choose_entropy(find("modelled"), None, 3).name == "mixed"
    with pytest.raises(ModelMissing, match="no entropy model for 3 codebooks"):
        choose_entropy(find("modelled"), "transformer", 3)
    assert Reader(io.BytesIO(encoded(seconds=1, n_q=4))).header.entropy == 3


def test_other_weights_of_the_codec_are_no_match(models: Path) -> None:
    """An entropy model is for the codes of one codec's very weights."""
    shutil.copy(models / "tiny.safetensors", models / "modelled.safetensors")
    assert find_for(find("tiny")) is None
    text = (models / "tiny.safetensors").read_bytes().replace(b'\\"tiny\\"', b'\\"mode\\"')
    (models / "modelled.safetensors").write_bytes(text)
    assert find_for(find("mode")) is None


@pytest.mark.parametrize("n_channels", [1, 2])
def test_a_damaged_packet_is_lost_alone(n_channels: int) -> None:
    blob = encoded(n_channels, 25, n_q=2)
    whole = codes_of(blob)
    packets = list(Reader(io.BytesIO(blob)))
    assert len(packets) == 3
    for packet in packets:
        middle = packet.offset + packet.n_bytes // 2
        damaged = blob[:middle] + bytes([blob[middle] ^ 0x10]) + blob[middle + 1 :]
        with pytest.raises(ChecksumMismatch, match=f"packet {packet.number}"):
            codes_of(damaged)
        reader = Reader(io.BytesIO(damaged), "song.ncx", on_damage=lambda damage: None)
        left = {found.number: codes for found, codes in decode_tolerantly(reader)}
        assert left.keys() == set(range(3)) - {packet.number}
        for number, codes in left.items():
            assert np.array_equal(codes, whole[number])
        facts = inspect(io.BytesIO(damaged), "song.ncx", decode=True)
        assert not facts.is_whole
        assert [list(damage.missing or ()) for damage in facts.damage] == [[packet.number]]


def decode_tolerantly(reader: Reader):
    """Yield what is left of a damaged file; its digest cannot match."""
    with contextlib.suppress(DigestMismatch):
        yield from decode_packets(reader)


def test_what_stands_before_damage_is_decoded_first() -> None:
    blob = encoded()
    packets = list(Reader(io.BytesIO(blob)))
    damaged = blob[: packets[2].offset + 20]
    found = iterate_codes(Reader(io.BytesIO(damaged)))
    for expected in codes_of(blob)[:2]:
        assert np.array_equal(next(found), expected)
    with pytest.raises(FormatError):
        next(found)


def test_other_codes_behind_good_checksums_are_caught() -> None:
    """A payload that decodes, but not to what was encoded: the digest of the codes tells."""
    blob = encoded()
    reader = Reader(io.BytesIO(blob))
    packets, sink = list(reader), io.BytesIO()
    trailer = reader.trailer
    assert trailer is not None
    writer = Writer(sink, reader.header)
    for packet in packets:
        payload = packet.payload
        if packet.number == 1:
            payload = bytes([payload[0] ^ 1]) + payload[1:]
        writer.write_packet(packet.n_frames, payload, scales=packet.scales)
    writer.finish(trailer.codes_digest)
    with pytest.raises(FormatError, match=r"digest|payload") as caught:
        codes_of(sink.getvalue())
    assert "song.ncx" in str(caught.value)
    assert not inspect(io.BytesIO(sink.getvalue()), "song.ncx", decode=True).is_whole


def test_more_codebooks_than_the_model_has_are_refused() -> None:
    entropy = find_for(find("modelled"))
    assert entropy is not None
    header = Header(
        architecture=1, model_id="modelled", model_fingerprint=b"abcd", sample_rate_hz=RATE_HZ,
        n_channels=1, codebook_size=16, n_codebooks=5, samples_per_frame=80, n_samples=80,
        entropy=2, entropy_fingerprint=entropy.fingerprint,
    )  # fmt: skip
    sink = io.BytesIO()
    Writer(sink, header).finish(b"\xe3\xb0\xc4\x42")
    with pytest.raises(InvalidField, match="5 codebooks of 16 codes; its model has 4 of 16"):
        codes_of(sink.getvalue())
    with pytest.raises(InvalidField, match="its model has 4 of 16"):
        CodesWriter(Writer(io.BytesIO(), header))


HEADER = Header(
    architecture=1, model_id="modelled", model_fingerprint=b"abcd", sample_rate_hz=RATE_HZ,
    n_channels=1, codebook_size=16, n_codebooks=4, samples_per_frame=80, n_samples=80,
)  # fmt: skip


@pytest.mark.parametrize(
    ("kinds", "at_once", "expected"),
    [
        ("", 3, []),
        ("kkkkkkk", 3, [3, 3, 1]),
        ("kdkkd", 8, [1, 1, 1, 1, 1]),
        ("kkkdkk", 8, [2, 1, 1, 2]),
        ("kddk", 8, [1, 1, 1, 1]),
        ("kkk", 1, [1, 1, 1]),
        ("LLkk", 8, [1, 1, 2]),  # large packets by themselves
    ],
)
def test_groups_are_of_key_packets(kinds: str, at_once: int, expected: list[int]) -> None:
    packets = [
        Packet(number, 65535 if kind == "L" else 10, bytes(4 << 20 if kind == "L" else 1),
               kind == "d")
        for number, kind in enumerate(kinds)
    ]  # fmt: skip
    groups = list(packet_groups(packets, HEADER, at_once))
    assert [len(group) for group in groups] == expected
    assert [packet.number for group in groups for packet in group] == list(range(len(kinds)))


def test_a_live_stream_waits_for_nothing() -> None:
    header = Header(**{name: getattr(HEADER, name) for name in (
        "architecture", "model_id", "model_fingerprint", "sample_rate_hz", "n_channels",
        "codebook_size", "n_codebooks", "samples_per_frame")})  # fmt: skip
    taken = []

    def packets():
        for number in range(3):
            taken.append(number)
            yield Packet(number, 10, b"a")

    groups = packet_groups(packets(), header, 8)
    assert [packet.number for packet in next(groups)] == taken == [0]


def test_a_broken_model_is_named(models: Path) -> None:
    path = models / "entropy" / "modelled.safetensors"
    blob = path.read_bytes()
    path.write_bytes(blob.replace(b'\\"n_heads\\": 3', b'\\"n_heads\\": 7'))
    with pytest.raises(ModelInvalid, match="cannot be shared by 7 heads"):
        load_network(ENTROPY_MODELS.describe(path))
    path.write_bytes(blob.replace(b'\\"n_heads\\"', b'\\"n_necks\\"'))
    with pytest.raises(ModelInvalid, match="n_necks"):
        load_network(ENTROPY_MODELS.describe(path))
    path.write_bytes(blob[:-50])
    with pytest.raises(ModelInvalid, match="modelled.safetensors"):
        load_network(ENTROPY_MODELS.describe(path))
    start = b'\\"codec_fingerprint\\": \\"'
    path.write_bytes(blob.replace(start, start + b"x"))
    with pytest.raises(ModelInvalid, match="modelled.safetensors"):
        ENTROPY_MODELS.describe(path)
    assert find_for(find("modelled")) is None
    with pytest.raises(ModelMissing):
        find_exact("modelled", b"abcd")
