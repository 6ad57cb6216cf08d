"""Folders of small .ncx files of random codes, for the tests of ncodec.batch.data."""

from pathlib import Path

import numpy as np

import ncodec
from ncodec.batch.data import ExportOptions, export

FRAMES = (2, 40)  # of a clip, at least and below; the model has 100 a second


def make_clip(path: Path, seed: int, n_frames: int, n_q: int = 3, **options: object) -> Path:
    """Write a file of the model `tiny`, of 16 codes in a codebook."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 16, (1, n_q, n_frames))
    levels = rng.uniform(0.1, 2, (1, 1))
    arguments = {
        "model": "tiny", "scales": levels, "sample_rate_hz": 11025, "entropy": "packed",
        "tags": {"TITLE": f"Clip {seed}", "SPEAKER": f"s{seed % 3}"},
    }  # fmt: skip
    ncodec.write_codes(path, codes, **{**arguments, **options})  # type: ignore[arg-type]
    return path


def make_clips(folder: Path, n: int) -> Path:
    """Write so many, in folders of folders, some with a text beside them."""
    rng = np.random.default_rng(n)
    for number in range(n):
        path = folder / f"{number % 7}/{number % 3}/clip {number}.ncx"
        make_clip(path, number, int(rng.integers(*FRAMES)))
        if number % 5 == 0:
            path.with_suffix(".txt").write_text(f"words of {number}\n")
        if number % 10 == 0:
            path.with_suffix(".json").write_text(f'{{"speaker": "j{number}"}}')
    return folder


def codes_below(folder: Path) -> dict[str, bytes]:
    """The codes of all files of a folder, by path."""
    return {
        path.relative_to(folder).as_posix(): ncodec.read_codes(path).tobytes()
        for path in sorted(folder.rglob("*.ncx"))
    }


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def exported(coded: Path, to: str = "npz", **options: object) -> Path:
    """An export in 4 shards or so, by this process alone."""
    out = Path(f"out.{to}")
    chosen = ExportOptions(to, **{"shard_size": 50, **options})  # type: ignore[arg-type]
    export([coded], out, chosen, n_workers=0)
    return out
