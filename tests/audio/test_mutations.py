"""No file is read short, or changed, without a word: mutations of whole files of many formats."""

import random
import subprocess
import sys
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest
from audio_files import posix_only
from mutated_audio import mutate, n_by_pyav, read_by_us, whole_files

from ncodec.audio.stderr import catch_decoders
from ncodec.errors import AudioError

MEMORY_BYTES = 64 << 20  # of Python and NumPy, for a file of some kB
DECODER_DELAY = (
    529  # of MP3, that libmpg123 leaves out of a file with a Xing frame, and FFmpeg keeps
)
ROUNDING = 64  # samples: FFmpeg resamples an encoder's delay where a damaged frame has another rate


def read_mutations(seed: int, n_files: int) -> Counter[str]:
    """Read so many mutations, and compare their lengths with PyAV's."""
    catch_decoders()
    files = whole_files()
    for name, content in files.items():
        assert read_by_us(content) == (n_by_pyav(content), False), name
    results: Counter[str] = Counter()
    for number in range(n_files):
        rng = random.Random(f"{seed} {number}")
        name = rng.choice(sorted(files))
        content = mutate(files[name], rng)
        found = read_by_us(content)
        if isinstance(found, AudioError):
            results["error"] += 1
            continue
        n, is_said = found
        expected = n_by_pyav(content)
        if is_said or expected is None:
            results["warning" if is_said else "no reference"] += 1
            continue
        where = f"case {number} of seed {seed}, {name}: {n} samples, PyAV has {expected}"
        has_delay = name == "mp3" and n + DECODER_DELAY == expected
        assert has_delay or abs(n - expected) <= ROUNDING, where
        results["same"] += 1
    return results


def test_some_mutations() -> None:
    tracemalloc.start()
    try:
        results = read_mutations(1, 80)
        assert tracemalloc.get_traced_memory()[1] < MEMORY_BYTES
    finally:
        tracemalloc.stop()
    assert results["error"] > 30
    assert results["same"] > 5
    assert results["no reference"] < 5


@pytest.mark.slow
@posix_only
@pytest.mark.parametrize("seed", range(2, 42))
def test_a_hundred_thousand_mutations(seed: int) -> None:
    """In processes of their own, which must not crash or hang."""
    code = f"import test_mutations as t; print(dict(t.read_mutations({seed}, 2500)))"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=600, cwd=Path(__file__).parent)
