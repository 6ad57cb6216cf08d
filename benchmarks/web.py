"""Speed of the player's decoder in Node, on one thread.

    python benchmarks/web.py [--kbps 6] [--seconds 60]

The figure is seconds of audio per second of processor time, of all that Node does meanwhile, best
of some runs; the library's own is beside it.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from speed import RATE_HZ, gflops, test_signal

import ncodec
from ncodec.hub.model_files import SHIPPED
from ncodec.native.threads import set_n_threads

HERE = Path(__file__).parent
WASM = HERE.parent / "web" / "ncodec.wasm"
MODELS = (SHIPPED / "spectral.safetensors", SHIPPED / "entropy" / "spectral.safetensors")
CODERS = ("transformer", "adaptive", "packed")


def by_library(blob: bytes, repeats: int) -> float:
    """Return the processor seconds of the library's fastest decoding."""
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        ncodec.decode(blob)
        best = min(best, time.process_time() - start)
    return best


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kbps", type=float, default=6)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--repeats", type=int, default=4)
    given = parser.parse_args()
    set_n_threads(1)
    wav = test_signal(given.seconds)
    blobs = [
        ncodec.encode(wav, RATE_HZ, bandwidth_kbps=given.kbps, entropy=entropy, effort="fast")
        for entropy in CODERS
    ]
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{entropy}.ncx" for entropy in CODERS]
        for path, blob in zip(paths, blobs, strict=True):
            path.write_bytes(blob)
        script = [HERE / "web.mjs", WASM, given.repeats, *MODELS, *paths]
        ran = subprocess.run(["node", *map(str, script)], check=True, stdout=subprocess.PIPE)
    said = json.loads(ran.stdout)
    sys.stdout.write(f"node {said['node']}, {gflops():.0f} GFLOP/s of NumPy; ")
    sys.stdout.write(f"kernel and models load in {said['loading']:.2f} s\n")
    sys.stdout.write("| kbps | entropy coder | Node | ncodec |\n|---|---|---|---|\n")
    for entropy, blob, seconds in zip(CODERS, blobs, said["found"], strict=True):
        node, library = given.seconds / seconds, given.seconds / by_library(blob, given.repeats)
        sys.stdout.write(f"| {given.kbps:g} | {entropy} | {node:.0f} | {library:.0f} |\n")


if __name__ == "__main__":
    main()
