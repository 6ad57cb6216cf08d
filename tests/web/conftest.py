"""The player's decoder is run by Node."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "formats"))

from node_runs import Node


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)
