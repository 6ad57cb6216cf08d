"""The player's decoder is run by Node."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "formats"))

from node_runs import Node


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


@pytest.fixture
def tiny(cache: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The models of a cache, which the library takes too."""
    monkeypatch.setenv("NCODEC_CACHE", str(cache))
    return [*(cache / "models").glob("*.safetensors"), *(cache / "models").glob("*/*.safetensors")]
