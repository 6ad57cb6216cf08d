"""Header, segments and arithmetic coder of .ecdc files, and what ECDC.md says of them."""

import io
import json
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_encodec import reference

from ncodec.errors import (
    BadSignature,
    FormatError,
    InvalidField,
    LimitExceeded,
    PayloadError,
    Truncated,
    UnsupportedVersion,
)
from ncodec.formats import ecdc
from ncodec.formats.ecdc import MODELS, ByteReader, EcdcHeader
from ncodec.formats.ecdc_arithmetic import ArithmeticDecoder, ArithmeticEncoder

TEXT = (Path(__file__).parents[2] / "formats" / "ECDC.md").read_text(encoding="utf-8")
FIELDS = {"m": "encodec_24khz", "al": 24000, "nc": 8, "lm": False}
HEADER = EcdcHeader("encodec_24khz", 24000, 8, False)


def header_of(packed: bytes, magic: bytes = b"ECDC", version: int = 0) -> bytes:
    return magic + struct.pack(">BI", version, len(packed)) + packed


def header_with(**fields: object) -> bytes:
    """A header with other fields; None leaves one out."""
    changed = {key: value for key, value in (FIELDS | fields).items() if value is not None}
    return header_of(json.dumps(changed).encode())


def parse(content: bytes) -> EcdcHeader:
    return EcdcHeader.parse(ByteReader(io.BytesIO(content), "x.ecdc"))


@settings(deadline=None)
@given(
    model=st.sampled_from(sorted(MODELS)),
    n_samples=st.integers(1, ecdc.MAX_SAMPLES),
    n_codebooks=st.integers(1, 16),
    lm=st.booleans(),
)
def test_headers_are_those_of_the_reference(
    model: str, n_samples: int, n_codebooks: int, lm: bool
) -> None:
    header = EcdcHeader(model, n_samples, n_codebooks, lm)
    packed = header.pack()
    assert parse(packed) == header
    sink = io.BytesIO()
    pytest.importorskip("torch")
    binary = reference().binary
    binary.write_ecdc_header(sink, {"m": model, "al": n_samples, "nc": n_codebooks, "lm": lm})
    assert sink.getvalue() == packed
    assert binary.read_ecdc_header(io.BytesIO(packed))["al"] == n_samples


def test_the_json_may_be_written_otherwise() -> None:
    packed = b' {"lm":false,"x":[1,{}],"nc":9,\n"al":24000,"m":"encodec_24\\u006bhz","nc":8}'
    assert parse(header_of(packed)) == HEADER


INVALID = {
    "empty": (b"", Truncated, "header at byte 0: needs 4 bytes, 0 left"),
    "other": (b"RIFF....", BadSignature, "at byte 0: not an .ecdc file: starts with 52 49 46 46"),
    "cut": (b"ECDC\0\0", Truncated, "header at byte 4: needs 5 bytes, 2 left"),
    "version": (header_of(b"", version=1), UnsupportedVersion, "at byte 4: version is 1"),
    "length": (b"ECDC\0\xff\xff\xff\xff", LimitExceeded,
               "at byte 5: 4294967295 bytes of JSON, expected at most 4096"),
    "cut JSON": (header_with()[:-1], Truncated, "at byte 9: needs 57 bytes, 56 left"),
    "no JSON": (header_of(b"{"), InvalidField, "header at byte 9: expected JSON: "),
    "nothing": (header_of(b""), InvalidField, "header at byte 9: expected JSON: "),
    "no UTF-8": (header_of(b'{"m": "\xff"}'), InvalidField, "expected JSON: 'utf-8' codec"),
    "deep": (header_of(b"[" * 4096), InvalidField, "expected JSON: nested too deep"),
    "digits": (header_of(b'{"al": ' + b"1" * 4080 + b"}"), InvalidField, "missing: m, nc, lm"),
    "list": (header_of(b"[]"), InvalidField, "JSON is of type list, expected dict"),
    "missing": (header_with(al=None, lm=None), InvalidField, "missing: al, lm"),
    "m type": (header_with(m=3), InvalidField, "m is of type int, expected str"),
    "al type": (header_with(al=True), InvalidField, "al is of type bool, expected int"),
    "al float": (header_with(al=1.0), InvalidField, "al is of type float, expected int"),
    "nc type": (header_with(nc="8"), InvalidField, "nc is of type str, expected int"),
    "lm type": (header_with(lm=0), InvalidField, "lm is of type int, expected bool"),
    "model": (header_with(m="encodec_32khz"), InvalidField,
              "m is 'encodec_32khz', expected one of encodec_24khz, encodec_48khz"),
    "long model": (header_with(m="x" * 4000), InvalidField, "m is 'xxxx"),
    "al 0": (header_with(al=0), InvalidField, "al is 0, expected 1 to 9223372036854775807"),
    "al large": (header_with(al=10**4000), InvalidField, "al is larger, expected 1 to"),
    "nc 0": (header_with(nc=0), InvalidField, "nc is 0, expected 1 to 32 for model encodec_24khz"),
    "nc 33": (header_with(nc=33), InvalidField, "nc is 33, expected 1 to 32"),
    "nc 17": (header_with(m="encodec_48khz", nc=17), InvalidField, "nc is 17, expected 1 to 16"),
    "nc large": (header_with(nc=-(10**4000)), InvalidField, "nc is larger, expected 1 to 32"),
}  # fmt: skip


@pytest.mark.parametrize("case", INVALID)
def test_headers_that_are_refused(case: str) -> None:
    content, refusal, message = INVALID[case]
    with pytest.raises(FormatError) as caught:
        parse(content)
    assert type(caught.value) is refusal
    assert str(caught.value).startswith("x.ecdc: header at byte ")
    assert message in str(caught.value)
    assert len(str(caught.value)) < 200


def test_a_header_checks_itself() -> None:
    with pytest.raises(InvalidField, match="nc is 33"):
        EcdcHeader("encodec_24khz", 1, 33, True)


@pytest.mark.parametrize(
    ("model", "n_samples", "expected"),
    [
        ("encodec_24khz", 1, [1]),
        ("encodec_24khz", 320, [1]),
        ("encodec_24khz", 321, [2]),
        ("encodec_24khz", 6720, [21]),
        ("encodec_24khz", 24000 * 3600, [270000]),
        ("encodec_48khz", 1, [1]),
        ("encodec_48khz", 47520, [149]),
        ("encodec_48khz", 47521, [149, 1]),
        ("encodec_48khz", 48000, [150, 2]),
        ("encodec_48khz", 95041, [150, 149, 1]),
    ],
)
def test_frames_of_the_segments(model: str, n_samples: int, expected: list[int]) -> None:
    assert list(MODELS[model].segment_frames(n_samples)) == expected


def test_frames_are_as_many_as_the_reference_writes() -> None:
    """Its convolutions pad to a whole number of strides, one after another."""
    zeros = pytest.importorskip("torch").zeros

    padding = reference().modules.conv.get_extra_padding_for_conv1d
    for n_samples in (1, 319, 320, 321, 6719, 6720, 6721, 13440, 47520, 48000):
        n = n_samples
        for stride in (2, 4, 5, 8):
            kernel = 2 * stride
            extra = padding(zeros(1, 1, n), kernel, stride, kernel - stride)
            n = (n + extra) // stride
        assert [n] == list(MODELS["encodec_24khz"].segment_frames(n_samples))


def test_segments_are_counted_one_by_one() -> None:
    frames = MODELS["encodec_48khz"].segment_frames(ecdc.MAX_SAMPLES)
    assert [next(frames) for _ in range(3)] == [150] * 3


@st.composite
def coded(draw: st.DrawFn) -> tuple[list[int], np.ndarray]:
    """Symbols and the table of each."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n_symbols, size = draw(st.integers(0, 60)), draw(st.sampled_from([1, 2, 3, 50, 1024]))
    steepness = draw(st.sampled_from([0.0, 1.0, 30.0]))
    shares = np.exp(steepness * rng.normal(size=(n_symbols, size)))
    shares /= shares.sum(axis=1, keepdims=True)
    widths = np.floor(shares * (2**24 - 2 * size)).astype(np.int64) + 2
    tables = widths.cumsum(axis=1)
    if draw(st.booleans()):
        symbols = [int(rng.choice(size, p=share)) for share in shares]
    else:
        symbols = rng.integers(0, size, n_symbols).tolist()
    return symbols, tables


@settings(deadline=None, max_examples=120)
@given(coded())
def test_the_coder_is_that_of_the_reference(case: tuple[list[int], np.ndarray]) -> None:
    from_numpy = pytest.importorskip("torch").from_numpy

    symbols, tables = case
    ac = reference().quantization.ac
    sink = io.BytesIO()
    theirs, ours = ac.ArithmeticCoder(sink), ArithmeticEncoder()
    parts = []
    for number, (symbol, table) in enumerate(zip(symbols, tables, strict=True)):
        theirs.push(symbol, from_numpy(table))
        ours.push(symbol, table.data)
        if number % 7 == 0:
            parts.append(ours.take())
    theirs.flush()
    packed = b"".join(parts) + ours.finish()
    assert packed == sink.getvalue()
    source = ByteReader(io.BytesIO(packed + b"next"), "x.ecdc")
    decoder, reader = ArithmeticDecoder(source, "it"), ac.ArithmeticDecoder(io.BytesIO(packed))
    assert [decoder.pull(table.tolist()) for table in tables] == symbols
    assert [reader.pull(from_numpy(table)) for table in tables] == symbols
    decoder.finish()
    assert source.take(4, "next") == b"next"


def test_golden_bytes_of_the_coder() -> None:
    table = [1 << 22, 3 << 22, (1 << 24) - 5, 1 << 24]
    encoder = ArithmeticEncoder()
    for symbol in (0, 1, 2, 3, 3, 0, 1):
        encoder.push(symbol, table)
    assert encoder.finish().hex() == "f4ffffdaffff96ffff07"


def test_a_table_that_ends_above_the_range() -> None:
    """Rounding can make it so; all codes but the last can be coded then."""
    table = [2, (1 << 24) - 1, (1 << 24) + 1]
    encoder = ArithmeticEncoder()
    encoder.push(1, table)
    packed = encoder.finish()
    decoder = ArithmeticDecoder(ByteReader(io.BytesIO(packed), "x.ecdc"), "it")
    assert decoder.pull(table) == 1
    with pytest.raises(PayloadError, match="add up to more than 1"):
        ArithmeticEncoder().push(2, table)
    decoder = ArithmeticDecoder(ByteReader(io.BytesIO(b"\xff\xff\xff"), "x.ecdc"), "it")
    with pytest.raises(PayloadError, match="add up to more than 1"):
        decoder.pull(table)


def decode(packed: bytes, n_symbols: int, table: list[int]) -> list[int]:
    decoder = ArithmeticDecoder(ByteReader(io.BytesIO(packed), "x.ecdc"), "segment 0")
    symbols = [decoder.pull(table) for _ in range(n_symbols)]
    decoder.finish()
    return symbols


def test_streams_of_the_coder_that_are_refused() -> None:
    table = [1 << 20, 1 << 22, 1 << 23, (1 << 24) - 600]
    symbols = [3, 0, 2, 1, 0, 0, 3, 2, 1, 2, 3]
    encoder = ArithmeticEncoder()
    for symbol in symbols:
        encoder.push(symbol, table)
    packed = encoder.finish()
    assert decode(packed, len(symbols), table) == symbols
    with pytest.raises(Truncated, match="segment 0 at byte"):
        decode(packed[:-1], len(symbols), table)
    with pytest.raises(PayloadError, match="no symbol has this number"):
        decode(b"\xff" * 8, 3, table)
    with pytest.raises(PayloadError, match="bits after the last symbol are not zero"):
        decode(packed[:-1] + bytes([packed[-1] | 0x80]), len(symbols), table)
    for bit in range(8 * len(packed)):
        damaged = bytearray(packed)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FormatError, match="x.ecdc: segment 0 at byte "):
            decode(bytes(damaged), len(symbols), table)


def rows(first_column: str) -> dict[str, list[str]]:
    """The rows of the table whose first column has that name."""
    lines = TEXT.splitlines()
    start = next(i for i, line in enumerate(lines) if re.match(rf"\| {first_column} +\|", line))
    found = {}
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        name, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        found[name] = cells
    return found


def test_the_page_has_the_limits_and_models_of_the_code() -> None:
    assert rows("limit")["length"][0] == str(ecdc.MAX_JSON_BYTES)
    assert rows("limit")["al"][0] == str(ecdc.MAX_SAMPLES)
    assert list(rows("key")) == list(FIELDS)
    for name, cells in rows("model").items():
        shape = MODELS[name]
        numbers = shape.sample_rate_hz, shape.n_channels, shape.n_codebooks
        segments = shape.segment_samples or "", shape.segment_stride or ""
        assert cells == [*map(str, numbers), *map(str, segments), ["no", "yes"][shape.has_scales]]
    assert rows("model").keys() == MODELS.keys()
    assert HEADER.pack()[9:].decode() in TEXT
