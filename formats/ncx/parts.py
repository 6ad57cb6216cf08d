"""What a file was cut out of or put together from (NCX.md, section 3)."""

from collections.abc import Iterable
from dataclasses import dataclass, fields

from ncodec.errors import InvalidField, LimitExceeded
from ncodec.formats.ncx.layout import MAX_VARINT_BYTES, VARINT_LIMIT, pack_varint

MAX_SILENCE = 1 << 31  # samples of the source, in all parts: bounds what a few bytes can ask for


@dataclass(frozen=True, slots=True)
class Part:
    """Samples of what one run of a codec stands for, or silence.

    Frames and samples are counted in the run, not in the file; samples are the source's.
    """

    first_frame: int  # of those that the file holds
    n_frames: int  # 0: silence
    first_sample: int  # that is heard
    n_samples: int

    @property
    def is_silence(self) -> bool:
        """Whether there are no frames behind it."""
        return self.n_frames == 0


def pack_parts(parts: Iterable[Part]) -> bytes:
    """Return the extension's content."""
    return b"".join(
        pack_varint(getattr(part, field.name)) for part in parts for field in fields(Part)
    )


def parse_parts(content: bytes) -> tuple[Part, ...]:
    """Return what `pack_parts` packed. Raises InvalidField or LimitExceeded for what is not so."""
    numbers: list[int] = []
    at = 0
    while at < len(content):
        value, at = _varint(content, at)
        numbers.append(value)
    if not numbers or len(numbers) % 4:
        raise InvalidField(f"parts: {len(numbers)} numbers, expected four for each part")
    parts = tuple(Part(*numbers[i : i + 4]) for i in range(0, len(numbers), 4))
    check_parts(parts)
    return parts


def check_parts(parts: tuple[Part, ...]) -> None:
    """Raise InvalidField or LimitExceeded for parts that cannot be."""
    for number, part in enumerate(parts):
        if not part.n_samples:
            raise InvalidField(f"parts: part {number} has no samples")
        if part.is_silence and (part.first_frame or part.first_sample):
            raise InvalidField(f"parts: part {number} is silence, but has a place in a run")
    silence = sum(part.n_samples for part in parts if part.is_silence)
    if silence > MAX_SILENCE:
        raise LimitExceeded(f"parts: {silence} samples of silence, at most {MAX_SILENCE}")


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(MAX_VARINT_BYTES):
        if at == len(content):
            raise InvalidField("parts: the last number is cut off")
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:
            if shift and not byte:
                raise InvalidField("parts: a number is longer than it need be")
            return value, at
    raise InvalidField(f"parts: a number of {VARINT_LIMIT} or more")
