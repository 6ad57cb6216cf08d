"""The example of docs/WEB.md runs as it is written."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_example_for_node() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node")
    example = re.findall(r"```js\n(.*?)```", (ROOT / "docs" / "WEB.md").read_text(), re.S)[0]
    ran = subprocess.run(
        [node, "--input-type=module", "-"], input=example, cwd=ROOT, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "[ 'music mono' ] 24000 134769\n"
