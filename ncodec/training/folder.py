"""What a training run leaves in its folder: a checkpoint and a log."""

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch


def save_checkpoint(folder: Path, state: Mapping[str, Any]) -> None:
    """Write the checkpoint beside, then rename: a killed run keeps the one before."""
    beside = folder / ".checkpoint.tmp"
    torch.save(state, beside)
    os.replace(beside, folder / "checkpoint.pt")  # noqa: PTH105


def load_checkpoint(folder: Path) -> dict[str, Any]:
    """Return what `save_checkpoint` wrote."""
    return torch.load(folder / "checkpoint.pt", map_location="cpu", weights_only=True)


def log(folder: Path, row: Mapping[str, object]) -> None:
    """Append a row to log.csv, which starts with the names of all columns.

    A name that is new, as when a run goes on with another configuration, makes a new column.
    """
    path = folder / "log.csv"
    before: list[dict[str, str]] = []
    names: list[str] = []
    if path.exists():
        with path.open(newline="") as stream:
            reader = csv.DictReader(stream)
            names, before = list(reader.fieldnames or ()), list(reader)
    if row.keys() <= set(names):
        with path.open("a", newline="") as stream:
            csv.DictWriter(stream, names).writerow(row)
        return
    beside = folder / ".log.tmp"
    with beside.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(dict.fromkeys([*names, *row])))
        writer.writeheader()
        writer.writerows([*before, row])
    beside.replace(path)
