"""A file of a minute, damaged at one place: what was not hit is heard as it was, at its time."""

import io
import random
from pathlib import Path

import numpy as np
import pytest

import ncodec
from ncodec.decoding import Decoding, RecoveringReader
from ncodec.errors import FormatError
from ncodec.formats.ncx import Reader

RATE_HZ = 8000
SECONDS = 60
PACKET_SECONDS = 10
SETTLED_SECONDS = 0.2  # behind a gap: the networks have warmed up again
TOLERANCE = 1e-4


@pytest.fixture(autouse=True)
def _tiny_model(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NCODEC_CACHE", str(cache))


class Whole:
    """The file, what it sounds like, and where its packets lie."""

    def __init__(self, entropy: str) -> None:
        rng = np.random.default_rng(0)
        noise = (0.1 * rng.standard_normal((1, SECONDS * RATE_HZ))).astype(np.float32)
        self.blob = ncodec.encode(noise, RATE_HZ, model="tiny", entropy=entropy)
        self.wav, _ = ncodec.decode(self.blob)
        reader = Reader(io.BytesIO(self.blob))
        self.header_bytes = reader.header_bytes
        self.packets = [(packet.offset, packet.n_bytes) for packet in reader]

    def hit(self, at: int) -> int | None:
        """Return the packet that a byte is of; None: header or trailer."""
        for number, (offset, n_bytes) in enumerate(self.packets):
            if offset <= at < offset + n_bytes:
                return number
        return None


@pytest.fixture(params=["packed", "adaptive", "mixed"])
def whole(request: pytest.FixtureRequest, _tiny_model: None) -> Whole:
    return Whole(request.param)


def conceal(blob: bytes) -> tuple[np.ndarray, Decoding, RecoveringReader]:
    recovery = RecoveringReader(io.BytesIO(blob), "file")
    decoding = Decoding(recovery)
    return np.concatenate([*decoding.blocks()], axis=1), decoding, recovery


def assert_only_lost(wav: np.ndarray, whole: Whole, lost: list[int]) -> None:
    """All is as it was, but for silence where `lost` packets were, and while networks settle."""
    assert wav.shape == whole.wav.shape
    same = np.abs(wav - whole.wav)[0] <= TOLERANCE
    for number in lost:
        first = max(0, number * PACKET_SECONDS * RATE_HZ - round(SETTLED_SECONDS * RATE_HZ))
        end = round(((number + 1) * PACKET_SECONDS + SETTLED_SECONDS) * RATE_HZ)
        same[first:end] = True
        inside = wav[0, first + 2 * RATE_HZ : end - 2 * RATE_HZ]
        assert not inside.any()
    assert same.all(), f"sample {int(np.argmin(same))} is not what it was"


def check_flip(whole: Whole, at: int, bits: int) -> None:
    blob = bytearray(whole.blob)
    blob[at] ^= bits
    hit = whole.hit(at)
    with pytest.raises(FormatError):
        ncodec.decode(bytes(blob))
    wav, decoding, recovery = conceal(bytes(blob))
    assert len(decoding.gaps) == (0 if hit is None else 1)
    assert recovery.damage
    assert_only_lost(wav, whole, [] if hit is None else [hit])


def check_cut(whole: Whole, n_bytes: int) -> None:
    blob = whole.blob[:n_bytes]
    with pytest.raises(FormatError):
        ncodec.decode(blob)
    if n_bytes < whole.header_bytes:
        with pytest.raises(FormatError):
            RecoveringReader(io.BytesIO(blob), "file")
        return
    wav, decoding, _ = conceal(blob)
    n_whole = sum(offset + size <= n_bytes for offset, size in whole.packets)
    lost = [*range(n_whole, len(whole.packets))]
    assert bool(decoding.gaps) == bool(lost)
    assert_only_lost(wav, whole, lost)


def test_one_flipped_byte(whole: Whole) -> None:
    rng = random.Random(1)
    header = rng.sample(range(whole.header_bytes), 5)
    for at in [*header, *rng.sample(range(len(whole.blob)), 8), len(whole.blob) - 3]:
        check_flip(whole, at, rng.randrange(1, 256))


def test_cut_at_a_length(whole: Whole) -> None:
    rng = random.Random(2)
    borders = [whole.header_bytes - 1, whole.header_bytes, sum(whole.packets[0])]
    for n_bytes in [0, *borders, *rng.sample(range(len(whole.blob)), 8), len(whole.blob) - 1]:
        check_cut(whole, n_bytes)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_many_flipped_bytes_and_lengths(whole: Whole, part: int) -> None:
    """All of the header and the trailer, and of the packets every seventh byte or so."""
    rng = random.Random(part)
    trailer = sum(whole.packets[-1])
    inside = rng.sample(range(whole.header_bytes, trailer), (trailer - whole.header_bytes) // 28)
    ends = [*range(whole.header_bytes), *range(trailer, len(whole.blob))]
    for at in [*ends[part::4], *inside]:
        check_flip(whole, at, rng.randrange(1, 256))
    for n_bytes in [*ends[part::4], *inside]:
        check_cut(whole, n_bytes)


@pytest.mark.parametrize("n_places", [2, 10, 1000])
def test_damage_at_many_places_gives_the_right_length_or_an_error(
    whole: Whole, n_places: int
) -> None:
    rng = random.Random(n_places)
    for _ in range(4):
        blob = bytearray(whole.blob)
        for at in rng.sample(range(whole.header_bytes, len(blob)), n_places):
            blob[at] ^= rng.randrange(1, 256)
        wav, decoding, _ = conceal(bytes(blob))
        hit = {whole.hit(at) for at in range(len(blob)) if blob[at] != whole.blob[at]} - {None}
        assert_only_lost(wav, whole, sorted(hit))
        assert decoding.gaps
