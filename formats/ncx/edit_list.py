"""What a file was cut out of or put together from (NCX.md, section 3)."""

from collections.abc import Iterable
from dataclasses import dataclass, fields

from ncodec.errors import InvalidField, LimitExceeded
from ncodec.formats.ncx.layout import pack_varint, unpack_varint

MAX_SILENCE = 1 << 31  # samples of the source, in all edits: bounds what a few bytes can ask for


@dataclass(frozen=True, slots=True)
class Edit:
    """Samples of what one run of a codec stands for, or silence.

    Frames and samples are counted in the run, not in the file; samples are the source's.
    """

    first_frame: int  # of those that the file holds
    n_frames: int  # 0: silence
    first_sample: int  # that is audible
    n_samples: int

    @property
    def is_silence(self) -> bool:
        """Whether no frames make it: it is silence."""
        return self.n_frames == 0


def pack_edits(edits: Iterable[Edit]) -> bytes:
    """Return the extension's content."""
    return b"".join(
        pack_varint(getattr(edit, field.name)) for edit in edits for field in fields(Edit)
    )


def parse_edits(content: bytes) -> tuple[Edit, ...]:
    """Return what `pack_edits` packed. Raises InvalidField or LimitExceeded for what is not so."""
    numbers: list[int] = []
    at = 0
    while at < len(content):
        value, at = unpack_varint(content, at, "edit list")
        numbers.append(value)
    if not numbers or len(numbers) % 4:
        raise InvalidField(f"edit list: {len(numbers)} numbers, expected four for each edit")
    edits = tuple(Edit(*numbers[i : i + 4]) for i in range(0, len(numbers), 4))
    check_edits(edits)
    return edits


def check_edits(edits: tuple[Edit, ...]) -> None:
    """Raise InvalidField or LimitExceeded for edits that cannot be."""
    for number, edit in enumerate(edits):
        if not edit.n_samples:
            raise InvalidField(f"edit list: edit {number} has no samples")
        if edit.is_silence and (edit.first_frame or edit.first_sample):
            raise InvalidField(f"edit list: edit {number} is silence, but has a place in a run")
    silence = sum(edit.n_samples for edit in edits if edit.is_silence)
    if silence > MAX_SILENCE:
        raise LimitExceeded(f"edit list: {silence} samples of silence, at most {MAX_SILENCE}")
