"""How fields are written: their types and allowed values (NCX.md, section 1).

A structure is a tuple of `Field`s, one per row of its table in NCX.md; a test compares the two.
"""

import math
import struct
from dataclasses import dataclass
from typing import Literal

from ncodec.errors import FormatError, InvalidField

Kind = Literal["u8", "u32", "f32", "varint", "tnirav", "bytes", "blob", "text"]

VARINT_LIMIT = 1 << 63
MAX_VARINT_BYTES = 9  # of 7 bits each


@dataclass(frozen=True, slots=True)
class Field:
    """One row of a table; `low`..`high` bound the stored number, or the length in bytes."""

    name: str
    kind: Kind
    low: int = 0
    high: int = 0
    refusal: type[FormatError] = InvalidField
    advice: str = ""  # for the reader of the refusal

    def fault(self, value: int) -> str | None:
        """What is wrong with the stored number or length `value`, or None."""
        if self.low <= value <= self.high:
            return None
        counted = self.kind in ("blob", "bytes", "text")
        noun = f"{self.name} has a length of" if counted else f"{self.name} is"
        expected = f"{self.low}" if self.low == self.high else f"{self.low} to {self.high}"
        return f"{noun} {value}, expected {expected}{self.advice}"

    def check(self, value: int) -> int:
        """Return `value`, or raise this field's refusal."""
        fault = self.fault(value)
        if fault is not None:
            raise self.refusal(fault)
        return value


def pack_varint(value: int) -> bytes:
    """Return the shortest unsigned LEB128 form of `value`, 0 <= value < 2^63."""
    packed = bytearray()
    while value > 0x7F:
        packed.append(value & 0x7F | 0x80)
        value >>= 7
    packed.append(value)
    return bytes(packed)


def unpack_varint(content: bytes, at: int, what: str) -> tuple[int, int]:
    """Return the number at `at` and where it ends. Raises InvalidField, with `what` it is of."""
    value = 0
    for shift in range(MAX_VARINT_BYTES):
        if at == len(content):
            raise InvalidField(f"{what}: the last number is cut off")
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:
            if shift and not byte:
                raise InvalidField(f"{what}: a number is longer than it need be")
            return value, at
    raise InvalidField(f"{what}: a number of {VARINT_LIMIT} or more")


def pack_number(field: Field, value: int) -> bytes:
    """Return the bytes of a u8, varint or tnirav field."""
    field.check(value)
    if field.kind == "u8":
        return bytes((value,))
    packed = pack_varint(value)
    return packed[::-1] if field.kind == "tnirav" else packed


def pack_bytes(field: Field, content: bytes) -> bytes:
    """Return the bytes of a bytes field, or of a blob with its length."""
    field.check(len(content))
    return content if field.kind == "bytes" else pack_varint(len(content)) + content


def pack_text(field: Field, text: str) -> bytes:
    """Return the bytes of a text field with its length."""
    try:
        content = text.encode()
    except UnicodeEncodeError as error:
        raise InvalidField(f"{field.name} cannot be written as UTF-8: {error.reason}") from None
    field.check(len(content))
    return pack_varint(len(content)) + content


def pack_scales(scales: tuple[float, ...]) -> bytes:
    """Return the bytes of an f32 field."""
    try:
        packed = struct.pack(f"<{len(scales)}f", *scales)
    except OverflowError:
        raise InvalidField("scales must fit a 32-bit float") from None
    unpack_scales(packed)
    return packed


def unpack_scales(packed: bytes) -> tuple[float, ...]:
    """Return the numbers of an f32 field; raise InvalidField for one that is not allowed."""
    scales = struct.unpack(f"<{len(packed) // 4}f", packed)
    for index, scale in enumerate(scales):
        if not 0 <= scale < math.inf:
            raise InvalidField(f"scales[{index}] is {scale}, expected a finite number, 0 or more")
    return scales
