"""What a training run leaves in its folder: a checkpoint, a log, and what validation found."""

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch


def save_checkpoint(folder: Path, state: Mapping[str, Any]) -> None:
    """Write the checkpoint next to it, then rename: a killed run keeps the one before."""
    partial = folder / ".checkpoint.tmp"
    torch.save(state, partial)
    os.replace(partial, folder / "checkpoint.pt")  # noqa: PTH105


def load_checkpoint(folder: Path) -> dict[str, Any]:
    """Return what `save_checkpoint` wrote."""
    return torch.load(folder / "checkpoint.pt", map_location="cpu", weights_only=True)


def log(folder: Path, row: Mapping[str, object]) -> None:
    """Append a row to log.csv, which starts with the names of all columns.

    A name that is new, as when a run goes on with another configuration, makes a new column.
    """
    path = folder / "log.csv"
    names, before = _read(path)
    if row.keys() <= set(names):
        with path.open("a", newline="") as stream:
            csv.DictWriter(stream, names).writerow(row)
    else:
        _write(path, [*names, *row], [*before, row])


def log_validation(folder: Path, row: Mapping[str, float]) -> None:
    """Put a row at the end of validation.csv.

    Rows of its step or a later one go: the run was killed after them, and takes these steps again.
    """
    path = folder / "validation.csv"
    names, before = _read(path)
    kept = [earlier for earlier in before if int(earlier["step"]) < row["step"]]
    _write(path, [*names, *row], [*kept, row])


def validated_step(folder: Path) -> int | None:
    """Return the step of the last row of validation.csv."""
    _, rows = _read(folder / "validation.csv")
    return int(rows[-1]["step"]) if rows else None


def _read(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Return the columns and the rows of a table; none of either if it is not there."""
    if not path.exists():
        return [], []
    with path.open(newline="") as stream:
        reader = csv.DictReader(stream)
        return list(reader.fieldnames or ()), list(reader)


def _write(path: Path, names: Sequence[str], rows: Sequence[Mapping[str, object]]) -> None:
    """Write a table next to it, then rename."""
    partial = path.with_name(f".{path.stem}.tmp")
    with partial.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(dict.fromkeys(names)))
        writer.writeheader()
        writer.writerows(rows)
    partial.replace(path)
