"""Codes in and out of packets: what is refused above the container, each with its golden file."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ncodec.bitstream.codes import CodesWriter, iterate_codes
from ncodec.errors import DigestMismatch, PayloadError
from ncodec.formats.ncx import Header, Reader, Writer

GOLDEN = Path(__file__).parents[1] / "golden" / "codes"
HEADER = Header(
    architecture=1, model_id="spectral", model_fingerprint=b"abcd", sample_rate_hz=8000,
    n_channels=1, codebook_size=16, n_codebooks=2, samples_per_frame=80, n_samples=160,
)  # fmt: skip
CODES = np.arange(6).reshape(1, 2, 3)


def whole() -> bytes:
    sink = io.BytesIO()
    writer = CodesWriter(Writer(sink, HEADER))
    writer.write(CODES)
    writer.finish(160)
    return sink.getvalue()


def other_digest() -> bytes:
    sink = io.BytesIO()
    writer = Writer(sink, HEADER)
    writer.write_packet(3, next(iter(Reader(io.BytesIO(whole())))).payload)
    writer.finish(b"none")
    return sink.getvalue()


def short_payload() -> bytes:
    sink = io.BytesIO()
    writer = Writer(sink, HEADER)
    writer.write_packet(3, b"\x03")
    writer.finish(b"none")
    return sink.getvalue()


@pytest.mark.quick
def test_codes_come_back() -> None:
    (codes,) = iterate_codes(Reader(io.BytesIO(whole())))
    assert np.array_equal(codes, CODES)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (other_digest, DigestMismatch, "have digest .*, the trailer says 6e6f6e65"),
        (short_payload, PayloadError, "packet 0 at byte"),
    ],
)
def test_refused_above_the_container(
    make: Callable[[], bytes],
    error: type,
    message: str,
    check_golden: Callable[[Path, bytes], None],
) -> None:
    path = GOLDEN / f"{make.__name__}.ncx"
    check_golden(path, make())
    with path.open("rb") as stream, pytest.raises(error, match=message) as caught:
        list(iterate_codes(Reader(stream, path.name)))
    assert path.name in str(caught.value)
