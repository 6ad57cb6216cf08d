"""Damaged files give audio or an error, soon, and within bounds of memory."""

import json
from pathlib import Path
from typing import Any

import pytest
from node_runs import run_node
from web_files import CODERS, edited_files, live_file, tiny_file

HANG_MS = 20_000
MEMORY_BYTES = 256 << 20  # of the kernel
MOST_SAMPLES = 1 << 24
"""Of a file of a few KB: silence in an edit list may be longer, and comes block by block."""


def fuzz(folder: Path, models: list[Path], seed: int, count: int) -> dict[str, Any]:
    originals = [
        *(tiny_file(entropy, n) for entropy in CODERS for n in (1, 2)),
        *(live_file(entropy, 1) for entropy in CODERS),
        *(content for _, content in edited_files(folder)),
    ]
    paths = [folder / f"original-{number}.ncx" for number in range(len(originals))]
    for path, content in zip(paths, originals, strict=True):
        path.write_bytes(content)
    job = {
        "files": list(map(str, paths)), "models": list(map(str, models)), "seed": seed,
        "count": count, "most_samples": MOST_SAMPLES,
    }  # fmt: skip
    (folder / "fuzz.json").write_text(json.dumps(job))
    (found,) = run_node("fuzz.mjs", folder / "fuzz.json", timeout_s=3600)
    assert found["longest_ms"] < HANG_MS
    assert found["kernel_bytes"] < MEMORY_BYTES
    return found["kinds"]


def test_damaged_files_give_audio_or_an_error(tiny: list[Path], tmp_path: Path) -> None:
    kinds = fuzz(tmp_path, tiny, 1, 200)
    assert sum(kinds.values()) == 3 * 200
    assert len(kinds) > 4, kinds
    assert kinds["audio"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_a_hundred_thousand_damaged_files(tiny: list[Path], tmp_path: Path, seed: int) -> None:
    kinds = fuzz(tmp_path, tiny, 100 + seed, 10_000)
    assert sum(kinds.values()) == 3 * 10_000
