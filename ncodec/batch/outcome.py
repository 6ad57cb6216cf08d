"""What is to be done with a file, and what came of it."""

from dataclasses import dataclass
from typing import Literal

Status = Literal["done", "skipped", "copied", "failed"]


@dataclass(frozen=True, slots=True)
class Item:
    """A file to be converted or copied."""

    source: str  # below the source's folder
    target: str  # below the target's folder
    size: int
    mtime_ns: int | None
    is_copy: bool = False
    known_sha256: str = ""  # of what the target was made of; with the same there is nothing to do,
    known_seconds: float = 0.0  # and these are its audio
    known_target_size: int = 0  # and its bytes


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a file."""

    source: str
    target: str
    status: Status
    error: str = ""  # why it failed, without its name
    seconds: float = 0.0  # of audio
    n_bytes_in: int = 0
    n_bytes_out: int = 0
    elapsed_s: float = 0.0  # of a worker's time; of files that were done together, its share
    sha256: str = ""  # of the source, if it was read
    remarks: tuple[str, ...] = ()  # what the user may want to know of a file that was made
