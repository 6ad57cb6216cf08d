"""What starting a command imports: torch alone takes two seconds."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parent / "golden" / "valid"
WATCHED = ("torch", "torchaudio", "numpy", "soundfile", "constriction", "tqdm", "soxr")
SCRIPT = f"""
import sys
from ncodec.cli.main import main
try:
    main(prog_name="ncodec")
except SystemExit as end:
    found = [name for name in {WATCHED!r} if name in sys.modules]
    print("IMPORTED", end.code, *found, file=sys.stderr)
"""


def imported(args: list[str]) -> set[str]:
    """Run a command, check that it ends well, and return which heavy modules it imported."""
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, *args], capture_output=True, text=True, check=True
    )
    word, code, *found = ran.stderr.splitlines()[-1].split()
    assert (word, code) == ("IMPORTED", "0"), ran.stdout + ran.stderr
    return set(found)


@pytest.fixture
def ncx() -> Path:
    paths = sorted(GOLDEN.glob("*.ncx"))
    assert paths
    # One that the adaptive coder can decode, whatever else it is.
    for path in paths:
        ran = subprocess.run(
            [sys.executable, "-c", SCRIPT, "verify", str(path)], capture_output=True, check=True
        )
        if b": ok (" in ran.stdout:
            return path
    pytest.skip("no golden file has codes")


def test_import_ncodec_is_light() -> None:
    code = f"import ncodec, sys; print([n for n in {WATCHED!r} if n in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"
