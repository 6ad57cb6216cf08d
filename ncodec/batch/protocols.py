"""What encoding and decoding of many files have in common."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

Progress = Callable[[float], None]  # takes the share of a file that was just done

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Result:
    """What a file that was made came to."""

    seconds: float  # of audio
    remarks: tuple[str, ...] = ()


class SegmentConverter(Protocol):
    """A long file in segments: each is done by itself, perhaps elsewhere, then they are joined."""

    def segment(
        self, name: str, source: Path, number: int, count: int, on_progress: Progress
    ) -> Any:
        """Return what becomes of one segment of so many; all of a file may be in the first.

        Raises NcodecError.
        """
        ...

    def join(self, name: str, source: Path, contents: Sequence[Any], path: Path) -> Result:
        """Write what `convert` would, of what became of all segments. Raises NcodecError."""
        ...


class Converter(Protocol[T]):
    """Files to files. Short ones are prepared, then computed together, then written one by one."""

    def prepare(self, name: str, path: Path) -> T | None:
        """Read a file if it is so short that it is better done with others; None: it is not."""
        ...

    def compute(self, prepared: Sequence[T]) -> list[T]:
        """Do what is done together; return those with which it worked."""
        ...

    def write(self, one: T, path: Path) -> Result:
        """Write one that was computed. Raises NcodecError."""
        ...

    def convert(self, name: str, source: Path, path: Path, on_progress: Progress) -> Result:
        """Do a file of any length by itself. Raises NcodecError."""
        ...

    def check(self, paths: Sequence[Path]) -> list[str]:
        """Return what is wrong with each of the files that were written; "" for nothing."""
        ...
