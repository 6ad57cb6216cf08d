"""Whole .ecdc files: the same bytes as the reference's, both ways, and what is refused.

The module is not named after the one it tests: tests/formats has that name.
"""

import io
import random
import re
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_encodec import Part, reference_codes, reference_file, reference_lm

from ncodec.bitstream.ecdc.codes import PIECE_FRAMES, Segment, read_ecdc, write_ecdc
from ncodec.errors import (
    FormatError,
    InvalidField,
    ModelError,
    ModelInvalid,
    ModelMissing,
    PayloadError,
    Truncated,
    UsageError,
)
from ncodec.formats.ecdc import MODELS, EcdcHeader
from ncodec.hub import language_models
from ncodec.hub.importers.encodec_lm import convert
from ncodec.hub.model_files import cache_folder
from ncodec.models.encodec_lm import PRESETS, EncodecLm, LmConfig

NAMES = sorted(MODELS)
TEXT = (Path(__file__).parents[2] / "formats" / "ECDC.md").read_text(encoding="utf-8")


class Dribble:
    """A pipe that gives and takes a few bytes at a time."""

    def __init__(self, content: bytes = b"") -> None:
        self.content = content
        self.taken = 0

    def read(self, size: int, /) -> bytes:
        part = self.content[self.taken : self.taken + min(size, 3)]
        self.taken += len(part)
        return part

    def write(self, chunk: bytes | memoryview, /) -> int:
        self.content += bytes(chunk[:5])
        return len(chunk[:5])


def parts_of(header: EcdcHeader, seed: int) -> list[Part]:
    """Random codes, and scales where there are any, of each segment."""
    rng = np.random.default_rng(seed)
    scaled = header.geometry.has_scales
    return [
        (rng.integers(0, 1024, (header.n_codebooks, n_frames)),
         float(np.float32(rng.random())) if scaled else None)
        for n_frames in header.segment_frames()
    ]  # fmt: skip


def written(header: EcdcHeader, parts: list[Part]) -> bytes:
    sink = io.BytesIO()
    n_bytes = write_ecdc(sink, header, (Segment(codes, scale) for codes, scale in parts))
    assert n_bytes == len(sink.getvalue())
    return sink.getvalue()


def read(content: bytes) -> tuple[EcdcHeader, list[Part]]:
    """The whole file; what was read in pieces put together."""
    found = read_ecdc(io.BytesIO(content), "x.ecdc")
    pieces = [(piece.codes, piece.scale) for piece in found.segments]
    if found.header.geometry.has_scales:
        return found.header, pieces
    return found.header, [(np.concatenate([codes for codes, _ in pieces], axis=1), None)]


def assert_same(found: list[Part], expected: list[Part]) -> None:
    assert len(found) == len(expected)
    for (codes, scale), (other, other_scale) in zip(found, expected, strict=True):
        assert codes.dtype == np.int64
        assert np.array_equal(codes, other)
        assert scale == other_scale


@pytest.mark.parametrize(
    ("name", "n_samples", "n_codebooks"),
    [
        ("encodec_24khz", 1, 1),
        ("encodec_24khz", 8001, 3),
        ("encodec_24khz", 12000, 32),
        ("encodec_24khz", 320 * (PIECE_FRAMES + 1), 2),
        ("encodec_48khz", 700, 1),
        ("encodec_48khz", 100_000, 7),
    ],
)
def test_packed_files_are_those_of_the_reference(
    name: str, n_samples: int, n_codebooks: int
) -> None:
    header = EcdcHeader(name, n_samples, n_codebooks, False)
    parts = parts_of(header, seed=1)
    content = written(header, parts)
    assert content == reference_file(name, n_samples, parts)
    assert_same(reference_codes(name, n_samples, content), parts)
    found, codes = read(content)
    assert found == header
    assert_same(codes, parts)


def test_a_length_that_the_reference_cannot_read() -> None:
    """It expects a frame more than it writes; see ECDC.md, section 5."""
    header = EcdcHeader("encodec_24khz", 6720, 2, False)
    parts = parts_of(header, seed=2)
    content = reference_file("encodec_24khz", 6720, parts)
    assert_same(read(content)[1], parts)
    with pytest.raises(EOFError):
        reference_codes("encodec_24khz", 6720, content)


@settings(deadline=None, max_examples=60)
@given(
    name=st.sampled_from(NAMES),
    n_samples=st.integers(1, 150_000),
    n_codebooks=st.integers(1, 16),
    seed=st.integers(0, 2**32),
)
def test_round_trip(name: str, n_samples: int, n_codebooks: int, seed: int) -> None:
    header = EcdcHeader(name, n_samples, n_codebooks, False)
    parts = parts_of(header, seed)
    assert_same(read(written(header, parts))[1], parts)


def test_pipes_and_stretches_of_any_length() -> None:
    header = EcdcHeader("encodec_24khz", 320 * 900, 3, False)
    ((codes, _),) = parts_of(header, seed=3)
    cuts = [0, 1, 3, 3 + PIECE_FRAMES, 890, 900]
    sink = Dribble()
    stretches = [Segment(codes[:, a:b].astype(np.uint16)) for a, b in zip(cuts, cuts[1:])]  # noqa: B905, RUF007
    write_ecdc(sink, header, stretches)
    assert sink.content == written(header, [(codes, None)])
    pieces = list(read_ecdc(Dribble(sink.content), "x.ecdc").segments)
    assert [piece.codes.shape[1] for piece in pieces] == [256, 256, 256, 132]
    assert np.array_equal(np.concatenate([piece.codes for piece in pieces], axis=1), codes)


def test_a_live_stream_is_read_no_further_than_needed() -> None:
    header = EcdcHeader("encodec_48khz", 100_000, 2, False)
    content = written(header, parts_of(header, seed=4))
    pipe = Dribble(content)
    found = read_ecdc(pipe, "x.ecdc")
    assert pipe.taken == len(header.pack())
    next(found.segments)
    assert pipe.taken == len(header.pack()) + 4 + 150 * 2 * 10 // 8


def test_the_dump_on_the_page() -> None:
    line = re.compile(r"^    [0-9A-F]{8}  ((?:[0-9A-F]{2} ?)+)", re.M)
    content = b"".join(bytes.fromhex(match[1]) for match in line.finditer(TEXT))
    header, parts = read(content)
    assert header == EcdcHeader("encodec_24khz", 321, 2, False)
    assert parts[0][0].T.tolist() == [[1023, 1], [2, 512]]
    assert written(header, parts) == content


HEADER = EcdcHeader("encodec_24khz", 1000, 3, False)
STEREO = EcdcHeader("encodec_48khz", 48001, 2, False)


def test_damage_to_a_packed_file_is_refused() -> None:
    content = written(HEADER, parts_of(HEADER, seed=5))
    start = len(HEADER.pack())
    for n_bytes in range(start, len(content)):
        with pytest.raises(Truncated, match=f"x.ecdc: segment 0 at byte {start}: needs 15 bytes"):
            read(content[:n_bytes])
    with pytest.raises(InvalidField, match=f"x.ecdc: end at byte {len(content)}: expected no more"):
        read(content + b"\0")
    header = EcdcHeader("encodec_24khz", 320, 3, False)
    content = written(header, parts_of(header, seed=5))
    damaged = content[:-1] + bytes([content[-1] | 0x40])
    message = f"x.ecdc: segment 0 at byte {len(content) - 1}: the bits after the last code are not"
    with pytest.raises(InvalidField, match=message):
        read(damaged)


@pytest.mark.parametrize("scale", [-1.0, float("nan"), float("inf")])
def test_scales_are_checked(scale: float) -> None:
    parts = parts_of(STEREO, seed=6)
    start = len(STEREO.pack())
    content = bytearray(written(STEREO, parts))
    content[start : start + 4] = np.array(scale, ">f4").tobytes()
    with pytest.raises(InvalidField, match=f"segment 0 at byte {start}: scale is {scale}"):
        read(bytes(content))
    parts[0] = parts[0][0], scale
    with pytest.raises(UsageError, match=f"segment 0: scale {scale}, expected a finite number"):
        written(STEREO, parts)


def fit(codes: np.ndarray, scale: float | None = None) -> Segment:
    return Segment(codes, scale)


ZEROS = np.zeros((3, 4), np.int64)
LONG, SHORT = np.zeros((2, 150), np.int64), np.zeros((2, 2), np.int64)


@pytest.mark.parametrize(
    ("header", "segments", "message"),
    [
        (HEADER, [], "segment 0: 4 more frames expected, found none"),
        (HEADER, [fit(ZEROS[:, :3])], "segment 0: 1 more frames expected, found none"),
        (HEADER, [fit(ZEROS), fit(ZEROS)], "segments: expected those of 1000 samples, found more"),
        (HEADER, [fit(ZEROS[:, :1]), fit(ZEROS)], "segment 0: 4 frames, expected 1 to 3"),
        (HEADER, [fit(ZEROS[:, :0])], "segment 0: 0 frames, expected 1 to 4"),
        (HEADER, [fit(ZEROS[:2])], r"expected integers \[3, frames\], found int64 \[2, 4\]"),
        (HEADER, [fit(ZEROS[0])], r"expected integers \[3, frames\], found int64 \[4\]"),
        (HEADER, [fit(ZEROS + 0.5)], r"expected integers \[3, frames\], found float64"),
        (HEADER, [fit(ZEROS - 1)], "segment 0: codes -1 to -1, expected 0 to 1023"),
        (HEADER, [fit(ZEROS + 1024)], "segment 0: codes 1024 to 1024, expected 0 to 1023"),
        (HEADER, [fit(ZEROS, 1.0)], "segment 0: scale 1.0, expected none"),
        (STEREO, [fit(LONG, 1.0), fit(SHORT)], "segment 1: scale None, expected a finite"),
        (STEREO, [fit(LONG[:, 1:], 1.0)], "segment 0: 149 frames, expected 150"),
        (STEREO, [fit(LONG, 1e39)], "segment 0: scale 1e[+]39, expected a finite"),
    ],
)
def test_codes_that_do_not_fit_are_refused(
    header: EcdcHeader, segments: list[Segment], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        write_ecdc(io.BytesIO(), header, segments)


# With a language model.


def install(name: str, lm: EncodecLm) -> None:
    """Put a language model where it is looked for."""
    folder = cache_folder() / "models" / language_models.LANGUAGE_MODELS.folder
    path = folder / f"{name}.safetensors"
    language_models.save(path, name, lm.config, lm.state_dict(), {})


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Install language models of one narrow layer; call it for others, by their seed."""
    monkeypatch.setenv("NCODEC_CACHE", str(tmp_path))

    def install_small(seed: int) -> None:
        for name, preset in PRESETS.items():
            torch.manual_seed(seed)
            config = LmConfig(preset.n_codebooks, 20, width=8, hidden=8, n_layers=1, n_heads=2)
            lm = EncodecLm(config)
            with torch.no_grad():
                lm.head_weights *= 4
            install(name, lm)

    install_small(0)
    yield install_small
    language_models.LANGUAGE_MODELS._load.cache_clear()


@pytest.mark.parametrize(
    ("name", "n_samples", "n_codebooks"),
    [("encodec_24khz", 9000, 32), ("encodec_24khz", 12000, 3), ("encodec_48khz", 50000, 2)],
)
def test_modelled_files_are_those_of_the_reference(
    name: str, n_samples: int, n_codebooks: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NCODEC_CACHE", str(tmp_path))
    theirs = reference_lm(name, seed=7)
    converted = convert(theirs.state_dict())
    assert converted is not None
    install(name, EncodecLm.from_tensors(converted.config, converted.tensors))
    header = EcdcHeader(name, n_samples, n_codebooks, True)
    parts = parts_of(header, seed=8)
    content = written(header, parts)
    assert content == reference_file(name, n_samples, parts, theirs)
    assert_same(reference_codes(name, n_samples, content, theirs), parts)
    found, codes = read(content)
    assert found == header
    assert_same(codes, parts)
    language_models.LANGUAGE_MODELS._load.cache_clear()


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", NAMES)
def test_round_trip_with_a_language_model(name: str) -> None:
    n_samples = 320 * (PIECE_FRAMES + 3) if name == "encodec_24khz" else 60_000
    header = EcdcHeader(name, n_samples, 2, True)
    parts = parts_of(header, seed=9)
    content = written(header, parts)
    assert_same(read(content)[1], parts)
    pipe = Dribble(content)
    assert (
        sum(piece.codes.shape[1] for piece in read_ecdc(pipe, "x.ecdc").segments)
        > PIECE_FRAMES // 2
    )
    assert pipe.taken == len(content)


def test_other_probabilities_are_found_out(small: Callable[[int], None]) -> None:
    """Whatever a wrong table leads to, it is one error, which tells the likely reason."""
    headers = [EcdcHeader(NAMES[0], 320 * 12, 4, True), EcdcHeader(NAMES[1], 48_700, 1, True)]
    contents = [written(header, parts_of(header, seed=10)) for header in headers]
    faults = set()
    for seed in range(1, 7):
        small(seed)
        for content in contents:
            with pytest.raises(PayloadError, match="x.ecdc: segment [01] at byte ") as caught:
                read(content)
            assert "other probabilities here than where it was written" in str(caught.value)
            assert "floating point depends on machine, library and threads" in str(caught.value)
            faults.add(str(caught.value).split(": ")[2].split(";")[0])
    assert len(faults) > 1


@pytest.mark.usefixtures("small")
def test_damage_to_a_modelled_file_is_refused() -> None:
    header = EcdcHeader(NAMES[0], 1600, 4, True)
    content = written(header, parts_of(header, seed=11))
    start = len(header.pack())
    cases = [content[:-1], content[:start]]
    for at in range(start, len(content)):
        for mask in (1, 0x80):
            cases.append(content[:at] + bytes([content[at] ^ mask]) + content[at + 1 :])
    for case in cases:
        with pytest.raises(PayloadError, match="the file is damaged, or its language model gives"):
            read(case)
    with pytest.raises(InvalidField, match="expected no more bytes, but more follow"):
        read(content + b"\0")


def test_a_language_model_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NCODEC_CACHE", str(tmp_path))
    header = EcdcHeader("encodec_24khz", 1600, 4, True)
    message = "language model of 'encodec_24khz': not installed; `ncodec models pull encodec_24khz_"
    with pytest.raises(ModelMissing, match=message):
        read_ecdc(io.BytesIO(header.pack()), "x.ecdc")
    sink = io.BytesIO()
    with pytest.raises(ModelMissing, match=message):
        write_ecdc(sink, header, [])
    assert not sink.getvalue()
    config = LmConfig(31, 20, width=8, hidden=8, n_layers=1, n_heads=2)
    install("encodec_24khz", EncodecLm(config))
    with pytest.raises(ModelInvalid, match="31 codebooks of 1024 codes, expected 32 of 1024"):
        read_ecdc(io.BytesIO(header.pack()), "x.ecdc")


# Any bytes.


def mutated(rng: random.Random, content: bytes) -> bytes:
    at = rng.randrange(len(content))
    until = min(len(content), at + rng.choice((1, 2, 4, 30)))
    middle = content[at:until]
    match rng.randrange(5):
        case 0:
            middle = bytes(byte ^ 1 << rng.randrange(8) for byte in middle)
        case 1:
            middle = rng.choice((b"", b"0", b"9999999", b"true", b'"', b"[", b"-1", b"2"))
        case 2:
            middle += rng.randbytes(rng.randrange(1, 9))
        case 3:
            return content[:at]
        case _:
            middle *= rng.randrange(2, 9)
    return content[:at] + middle + content[until:]


@pytest.mark.usefixtures("small")
def test_any_bytes_are_read_or_refused() -> None:
    headers = [
        EcdcHeader(name, n_samples, 2, lm)
        for name, n_samples in (("encodec_24khz", 2000), ("encodec_48khz", 47_600))
        for lm in (False, True)
    ]
    seeds = [written(header, parts_of(header, seed=12)) for header in headers]
    outcomes = [0, 0]
    for case in range(200):
        rng = random.Random(case)
        content = mutated(rng, rng.choice(seeds))
        if rng.random() < 0.3:
            content = mutated(rng, content)
        started = time.perf_counter()
        try:
            read(content)
            outcomes[0] += 1
        except (FormatError, ModelError) as error:
            outcomes[1] += 1
            assert "x.ecdc: " in str(error)  # noqa: PT017
        except Exception as error:
            error.add_note(f"case {case}: {content.hex()}")
            raise
        assert time.perf_counter() - started < 5
    assert min(outcomes) > 5


@pytest.mark.parametrize("name", NAMES)
def test_memory_is_not_taken_before_codes_arrive(name: str) -> None:
    header = EcdcHeader(name, 1 << 62, 16, False)
    content = header.pack() + bytes(100_000)
    tracemalloc.start()
    try:
        with pytest.raises(Truncated):
            for _ in read_ecdc(io.BytesIO(content), "x.ecdc").segments:
                pass
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
    finally:
        tracemalloc.stop()
