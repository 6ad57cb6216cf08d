"""The player's decoder is run by Node."""

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
LEAST_NODE = 20


def run_node(script: str, *arguments: str | Path, timeout_s: float = 300) -> list[Any]:
    """Return the lines that a script of this folder prints, each of them JSON."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True)
    if int(version.stdout.lstrip("v").split(".")[0]) < LEAST_NODE:
        pytest.skip(f"node {version.stdout.strip()} is older than {LEAST_NODE}")
    ran = subprocess.run(
        [node, str(HERE / script), *map(str, arguments)], capture_output=True, text=True,
        timeout=timeout_s, env={**os.environ, "NODE_OPTIONS": "--max-old-space-size=512"},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines()]


class Node:
    """Node in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(
        self, files: Sequence[tuple[str, bytes]], timeout_s: float = 300
    ) -> tuple[list[dict[str, Any]], dict[str, float]]:
        """Return what the reader of the container says of files, and what that took."""
        blob, lengths = self._folder / "blob", self._folder / "lengths.json"
        blob.write_bytes(b"".join(content for _, content in files))
        lengths.write_text(json.dumps([(name, len(content)) for name, content in files]))
        *found, cost = run_node("containers.mjs", blob, lengths, timeout_s=timeout_s)
        assert len(found) == len(files)
        return found, cost

    def decode(
        self, files: Sequence[tuple[str, bytes]], models: Sequence[Path], timeout_s: float = 300
    ) -> tuple[list[dict[str, Any]], dict[str, float]]:
        """Return what the decoder makes of files, `audio` as bytes, and what that took."""
        paths = [self._folder / f"{number}.ncx" for number in range(len(files))]
        for path, (_, content) in zip(paths, files, strict=True):
            path.write_bytes(content)
        named = [(name, str(path)) for path, (name, _) in zip(paths, files, strict=True)]
        job = self._folder / "job.json"
        job.write_text(json.dumps({"files": named, "models": [str(path) for path in models]}))
        *found, cost = run_node("decode.mjs", job, timeout_s=timeout_s)
        assert len(found) == len(files)
        for one, path in zip(found, paths, strict=True):
            one["audio"] = Path(f"{path}.f32").read_bytes()
        return found, cost
