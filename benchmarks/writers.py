"""What each output format takes: 1 Hz to 1 MHz, 1 to 64 channels, each in a child process.

    python benchmarks/writers.py

Prints a Markdown table, and exits with 1 if a child crashes or hangs: ncodec must refuse first.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from ncodec.formats.audio_files import WRITABLE

RATES_HZ = (
    1, 100, 4000, 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 96000, 192000,
    200000, 384000, 655350, 1000000,
)  # fmt: skip
CHANNELS = (1, 2, 3, 6, 8, 9, 16, 64)
TIMEOUT_S = 60

CHILD = """
import sys
import numpy as np
from ncodec.audio import read, write
from ncodec.errors import NcodecError
path, rate, n_channels = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
try:
    write(path, np.full((n_channels, 500), 0.1, np.float32), rate, overwrite=True)
    wav, found = read(path)
except NcodecError as error:
    print(error)
    sys.exit(1)
assert (found, len(wav)) == (rate, n_channels), (found, wav.shape)
assert wav.shape[1] >= 500, wav.shape
"""


def outcome(path: Path, rate_hz: int, n_channels: int) -> str:
    """Return "yes", "no" for a clear refusal, or what went wrong."""
    args = [sys.executable, "-c", CHILD, str(path), str(rate_hz), str(n_channels)]
    try:
        done = subprocess.run(args, capture_output=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return "hangs"
    if done.returncode == 0:
        return "yes"
    return "no" if done.returncode == 1 and done.stdout and not done.stderr else "crashes"


def spans(values: tuple[int, ...], taken: list[int]) -> str:
    """Return the values that are taken, runs of neighbours as "8 to 48"."""
    runs: list[list[int]] = []
    for value in taken:
        if runs and values.index(value) == values.index(runs[-1][-1]) + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(map(str, run))
                     for run in runs)  # fmt: skip


def main() -> int:
    """Print the table."""
    bad: list[str] = []
    print("| format | Hz, of those tried, with 2 channels | channels, of those tried, at 48 kHz |")
    print("|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name in WRITABLE:
            path = Path(folder) / f"a.{name}"
            rates = {rate: outcome(path, rate, 2) for rate in RATES_HZ}
            channels = {n: outcome(path, 48000, n) for n in CHANNELS}
            corners = {(rate, n): outcome(path, rate, n) for rate in (1, 1000000) for n in (1, 64)}
            for place, what in {**rates, **channels, **corners}.items():
                if what not in ("yes", "no"):
                    bad.append(f"{name} {place}: {what}")
            taken = [[key for key, what in tried.items() if what == "yes"]
                     for tried in (rates, channels)]  # fmt: skip
            print(
                f"| {name} | {spans(RATES_HZ, taken[0])} | {spans(CHANNELS, taken[1])} |",
                flush=True,
            )
    print("\n".join(bad) or "\nNothing crashed or hung.")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
