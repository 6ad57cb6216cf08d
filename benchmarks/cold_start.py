"""Whole commands on a file of 5 s, from the shell's point of view: start, imports, models, work.

    python benchmarks/cold_start.py [--runs 7] [--clip samples/speech_male.flac]

Each number is the median of so many processes of one thread, which take turns with a Python that
imports NumPy and nothing else: the ratio to it is what other machines can compare. Files and models
are in the system's cache.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

SAMPLES = Path(__file__).parents[1] / "samples"
NUMPY = [sys.executable, "-c", "import numpy"]
COMMANDS = {  # IN: audio of the clip, NCX: the same encoded, OUT: what is made
    "--version": "",
    "inspect": "NCX",
    "verify": "NCX",
    "decode": "-q -f NCX -o OUT.wav",
    "encode": "-q -f IN -o OUT.ncx",
}


def seconds(command: list[str]) -> float:
    """Return how long a process takes."""
    started = time.perf_counter()
    subprocess.run(
        command, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    return time.perf_counter() - started


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description="Cold start of the commands.")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--clip", type=Path, default=SAMPLES / "speech_male.flac")
    args = parser.parse_args()
    with TemporaryDirectory() as folder:
        ncx = Path(folder) / "clip.ncx"
        places = {"IN": args.clip, "NCX": ncx, "OUT.wav": ncx.with_name("out.wav")}
        places["OUT.ncx"] = ncx.with_name("out.ncx")
        ncodec = [sys.executable, "-m", "ncodec"]
        seconds([*ncodec, "encode", "-q", str(args.clip), "-o", str(ncx)])
        print("| command | ms | x `import numpy` |")
        print("|---|---|---|")
        for name, options in COMMANDS.items():
            command = [*ncodec, name, *(str(places.get(arg, arg)) for arg in options.split())]
            times = [(seconds(command), seconds(NUMPY)) for _ in range(args.runs)]
            ours, numpy = map(statistics.median, zip(*times, strict=True))
            print(f"| `{name}` | {1000 * ours:.0f} | {ours / numpy:.1f} |", flush=True)


if __name__ == "__main__":
    main()
