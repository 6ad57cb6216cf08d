"""The .ecdc container of Meta's EnCodec: header and shape of the body (ECDC.md)."""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Any, Self, cast

from ncodec.errors import (
    BadSignature,
    FormatError,
    InvalidField,
    LimitExceeded,
    Truncated,
    UnsupportedVersion,
)
from ncodec.formats.streams import Readable

MAGIC = b"ECDC"
VERSION = 0
START = struct.Struct(">4sBI")  # magic, version, bytes of JSON
SCALE = struct.Struct(">f")
MAX_JSON_BYTES = 4096
MAX_SAMPLES = (1 << 63) - 1
SAMPLES_PER_FRAME = 320
CODE_BITS = 10


@dataclass(frozen=True, slots=True)
class Geometry:
    """What the body of one model's files looks like."""

    sample_rate_hz: int
    n_channels: int
    n_codebooks: int  # at most
    segment_samples: int | None = None  # None: the whole file is one segment
    segment_stride: int | None = None  # from one segment's first sample to the next one's
    has_scales: bool = False

    def segment_frames(self, n_samples: int) -> Iterator[int]:
        """Yield the number of frames of each segment of `n_samples` samples."""
        stride = self.segment_stride or n_samples
        start = 0
        while start < n_samples:
            left = n_samples - start
            yield -(-min(left, self.segment_samples or left) // SAMPLES_PER_FRAME)
            start += stride


MODELS = {
    "encodec_24khz": Geometry(24000, 1, 32),
    "encodec_48khz": Geometry(48000, 2, 16, 48000, 47520, has_scales=True),
}


class ByteReader:
    """A stream of bytes, read front to back and never further than asked for."""

    def __init__(self, stream: Readable, name: str) -> None:
        self.name = name
        self.offset = 0
        self._stream = stream

    def error(
        self, refusal: type[FormatError], label: str, text: str, offset: int | None = None
    ) -> FormatError:
        """Return the error `refusal`, with file name, structure and offset."""
        place = self.offset if offset is None else offset
        return refusal(f"{self.name}: {label} at byte {place}: {text}")

    def take(self, n_bytes: int, label: str) -> bytes:
        """Return the next `n_bytes`, which belong to the structure `label`."""
        parts, missing = bytearray(), n_bytes
        while missing:
            part = self._stream.read(missing)
            if part is None:
                raise BlockingIOError(f"{self.name}: the stream is not blocking and has no data")
            if not part:
                text = f"needs {n_bytes} bytes, {len(parts)} left"
                raise self.error(Truncated, label, text)
            parts += part
            missing -= len(part)
        self.offset += n_bytes
        return bytes(parts)

    def scale(self, label: str) -> float:
        """Return the normalisation factor that stands before a segment."""
        offset = self.offset
        (value,) = SCALE.unpack(self.take(SCALE.size, label))
        if not (isfinite(value) and value >= 0):
            text = f"scale is {value}, expected a finite number that is not negative"
            raise self.error(InvalidField, label, text, offset)
        return value

    def end(self) -> None:
        """Raise InvalidField if anything follows."""
        if self._stream.read(1):
            raise self.error(InvalidField, "end", "expected no more bytes, but more follow")


@dataclass(frozen=True, slots=True)
class EcdcHeader:
    """What a file says of itself (ECDC.md, section 1)."""

    model: str
    n_samples: int  # per channel, at the model's sample rate, before padding
    n_codebooks: int
    lm: bool  # arithmetic coding with the probabilities of the model's language model

    def __post_init__(self) -> None:
        _check("m", str, self.model)
        _check("al", int, self.n_samples)
        _check("nc", int, self.n_codebooks)
        _check("lm", bool, self.lm)
        if self.model not in MODELS:
            raise InvalidField(f"m is {self.model[:40]!r}, expected one of {', '.join(MODELS)}")
        if not 1 <= self.n_samples <= MAX_SAMPLES:
            found = self.n_samples if abs(self.n_samples) <= MAX_SAMPLES else "larger"
            raise InvalidField(f"al is {found}, expected 1 to {MAX_SAMPLES}")
        if not 1 <= self.n_codebooks <= self.geometry.n_codebooks:
            found = self.n_codebooks if abs(self.n_codebooks) <= MAX_SAMPLES else "larger"
            expected = f"1 to {self.geometry.n_codebooks} for model {self.model}"
            raise InvalidField(f"nc is {found}, expected {expected}")

    @property
    def geometry(self) -> Geometry:
        """The shape of the body."""
        return MODELS[self.model]

    def segment_frames(self) -> Iterator[int]:
        """Yield the number of frames of each segment."""
        return self.geometry.segment_frames(self.n_samples)

    def pack(self) -> bytes:
        """Return the header's bytes."""
        fields = {
            "m": self.model, "al": self.n_samples, "nc": self.n_codebooks, "lm": self.lm,
        }  # fmt: skip
        packed = json.dumps(fields).encode()
        return START.pack(MAGIC, VERSION, len(packed)) + packed

    @classmethod
    def parse(cls, source: ByteReader) -> Self:
        """Read the header."""
        start = source.take(len(MAGIC), "header")
        if start != MAGIC:
            text = f"not an .ecdc file: starts with {start.hex(' ')}, expected {MAGIC.hex(' ')}"
            raise source.error(BadSignature, "header", text, 0)
        start += source.take(START.size - len(MAGIC), "header")
        _, version, length = START.unpack(start)
        if version != VERSION:
            text = f"version is {version}, expected {VERSION}"
            raise source.error(UnsupportedVersion, "header", text, len(MAGIC))
        if length > MAX_JSON_BYTES:
            text = f"{length} bytes of JSON, expected at most {MAX_JSON_BYTES}"
            raise source.error(LimitExceeded, "header", text, len(MAGIC) + 1)
        try:
            return cls(*_fields(source.take(length, "header")))
        except InvalidField as error:
            raise source.error(InvalidField, "header", str(error), START.size) from None


def _check(key: str, kind: type, value: object) -> None:
    if type(value) is not kind:  # a bool is no int here
        raise InvalidField(f"{key} is of type {type(value).__name__}, expected {kind.__name__}")


def _fields(packed: bytes) -> tuple[Any, ...]:
    """Return the four fields from the header's JSON, of whatever type."""
    try:
        found = json.loads(packed.decode())
    except ValueError as error:  # UnicodeDecodeError is one
        raise InvalidField(f"expected JSON: {error}") from None
    except RecursionError:
        raise InvalidField("expected JSON: nested too deep") from None
    _check("JSON", dict, found)
    fields = cast("dict[str, Any]", found)
    missing = [key for key in ("m", "al", "nc", "lm") if key not in fields]
    if missing:
        raise InvalidField(f"expected the keys m, al, nc, lm; missing: {', '.join(missing)}")
    return fields["m"], fields["al"], fields["nc"], fields["lm"]
