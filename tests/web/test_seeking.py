"""Audio from any place of a file is that of decoding it from its start."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from node_runs import run_node
from web_files import CODERS, SHIPPED_MODELS, edited_files, live_file, sound, tiny_file

import ncodec

TOLERANCE = 1e-4
PARTS = (0, 1e-3, 0.37, 0.71, 0.95)
BLOCK_BYTES = 1 << 14
"""That are read at once: see web/ncx/http.js."""


def seek(
    folder: Path, files: list[tuple[str, bytes]], models: Any, most: int | None = None
) -> list[dict[str, Any]]:
    """Return what Node finds at each of PARTS of files."""
    paths = [folder / f"seek-{number}.ncx" for number in range(len(files))]
    for path, (_, content) in zip(paths, files, strict=True):
        path.write_bytes(content)
    named = [(name, str(path)) for path, (name, _) in zip(paths, files, strict=True)]
    job = {"files": named, "models": list(map(str, models)), "parts": PARTS, "most": most}
    (folder / "job.json").write_text(json.dumps(job))
    return run_node("seek.mjs", folder / "job.json")


@pytest.mark.quick
def test_shipped_model_from_any_place(tmp_path: Path) -> None:
    """Of two packets, the second and the warm-up are enough for what it holds."""
    wav = sound(1, 24000, 12)
    options: dict[str, Any] = {"bandwidth_kbps": 3, "entropy": "adaptive", "effort": "fast"}
    files = [("song.ncx", ncodec.encode(wav, 24000, **options))]
    for found in seek(tmp_path, files, SHIPPED_MODELS):
        assert found["error"] is None
        assert found["isIndexed"]
        assert found["n"] == wav.shape[1]
        assert found["durationS"] == 12
        for place in found["places"]:
            assert place["difference"] < TOLERANCE, place
            assert (place["missing"], place["error"]) == (0, None)


def test_live_and_edited_files_from_any_place(tiny: list[Path], tmp_path: Path) -> None:
    """Packets that depend on those before, and spans of silence and of other runs."""
    files = [(f"{entropy}.ncx", live_file(entropy, 2)) for entropy in CODERS]
    files += edited_files(tmp_path)
    for found in seek(tmp_path, files, tiny):
        assert found["error"] is None
        assert found["isIndexed"]
        for place in found["places"]:
            assert place["difference"] < TOLERANCE, place
            assert (place["missing"], place["error"]) == (0, None)


def test_without_an_index_it_is_read_front_to_back(tiny: list[Path], tmp_path: Path) -> None:
    """The end of the file was lost: what is there plays, then the error comes."""
    whole = [live_file("adaptive", 1), tiny_file("packed", 1, 23)]
    files = [("cut.ncx", content[: int(0.8 * len(content))]) for content in whole]
    for found in seek(tmp_path, files, tiny):
        assert not found["isIndexed"]
        assert found["n"] > 0
        assert found["error"][0] == "Truncated"
        for place in found["places"]:
            assert place["difference"] < TOLERANCE, place
            assert (place["missing"], place["error"]) == (0, found["error"])


def test_of_a_long_file_only_what_is_needed_is_read(tiny: list[Path], tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    wav = rng.uniform(-0.2, 0.2, (1, 400 * 8000)).astype(np.float32)
    blob = ncodec.encode(wav, 8000, model="modelled", entropy="packed", bandwidth_kbps=1.6)
    (found,) = seek(tmp_path, [("long.ncx", blob)], tiny, most=4000)
    assert found["size"] > 4 * BLOCK_BYTES
    for place in found["places"]:
        assert place["difference"] < TOLERANCE, place
        assert place["read"] <= 2 * BLOCK_BYTES, place
