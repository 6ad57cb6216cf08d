"""Delay of a live chain, recorder | ncodec encode --live | ncodec decode | loudspeaker.

    python benchmarks/latency.py [--latency 300] [--rate 48000] [--seconds 60] [--cores 1]

A writer gives a block of 10 ms every 10 ms, once both commands are up; a reader notes when each
sample of what is decoded arrives. The delay of a sample is from the end of its block being written
to its arrival: the latency that `ncodec encode --live` reports, and the time for computing and the
pipes. A loudspeaker that starts with `longest - first` of audio in its buffer never runs dry.

All of it runs on so many cores (Linux). The first second, in which networks warm up, is apart.
"""

import argparse
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from speed import test_signal

from ncodec.audio.wav import WavHeader, pack_wav_header

BLOCK_SECONDS = 0.01
NCODEC = [sys.executable, "-m", "ncodec"]


def chain(args: argparse.Namespace, log: Path) -> tuple[subprocess.Popen, subprocess.Popen]:
    """Start both commands, the output of one as the input of the other."""
    options = ["-b", str(args.bandwidth), "-m", args.model]
    if args.entropy:
        options += ["--entropy", args.entropy]
    if args.latency:
        options += ["--latency", str(args.latency)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with log.open("w") as errors:
        encode = subprocess.Popen(
            [*NCODEC, "encode", "--live", *options, "-", "-o", "-"], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=errors, env=environment,
        )  # fmt: skip
        decode = subprocess.Popen(
            [*NCODEC, "decode", "-q", "-", "-o", "-"], stdin=encode.stdout, stdout=subprocess.PIPE,
            stderr=errors, env=environment,
        )  # fmt: skip
    encode.stdout.close()
    return encode, decode


def play(
    encode: subprocess.Popen, decode: subprocess.Popen, wav: np.ndarray, rate: int
) -> np.ndarray:
    """Send [T] samples in real time; return for each when it came out, in seconds from then."""
    pcm = (np.clip(wav, -1, 1) * 32767).astype("<i2").tobytes()
    encode.stdin.write(pack_wav_header(WavHeader(rate, 1, 2, False, None)))
    encode.stdin.flush()
    decode.stdout.read(44)  # its header: both are there now
    arrived = np.full(len(wav), np.inf)
    began = time.perf_counter()

    def listen() -> None:
        n_bytes = 0
        while some := decode.stdout.read1(1 << 16):
            now = time.perf_counter() - began
            arrived[n_bytes // 2 : (n_bytes + len(some)) // 2] = now
            n_bytes += len(some)

    listener = threading.Thread(target=listen)
    listener.start()
    n_block = round(BLOCK_SECONDS * rate) * 2
    for number, start in enumerate(range(0, len(pcm), n_block)):
        time.sleep(max(0.0, began + (number + 1) * BLOCK_SECONDS - time.perf_counter()))
        encode.stdin.write(pcm[start : start + n_block])
        encode.stdin.flush()
    encode.stdin.close()
    listener.join()
    encode.wait()
    decode.wait()
    return arrived


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="spectral")
    parser.add_argument("--bandwidth", type=float, default=6.0)
    parser.add_argument("--entropy", default=None)
    parser.add_argument("--latency", type=float, default=None)
    parser.add_argument("--rate", type=int, default=48000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--cores", type=int, default=1)
    args = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.cores])
    wav = test_signal(args.seconds * args.rate / 24000)
    with TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        arrived = play(*chain(args, log), wav, args.rate)
        said = log.read_text()
    written = (np.arange(len(wav)) // round(BLOCK_SECONDS * args.rate) + 1) * BLOCK_SECONDS
    delay_ms = 1000 * (arrived - written)
    reported = re.search(r"latency (\d+) ms", said)
    assert reported, said
    assert np.isfinite(delay_ms).all(), said
    later = delay_ms[args.rate :]
    kbps = re.search(r"([\d.]+) kbps", said)[1]
    print(f"{args.model}, {args.rate} Hz, {args.seconds:g} s on {args.cores} core(s)\n")
    print("| true kbps | latency reported, ms | delay: mean | 99 % | longest | first second |")
    print("|---|---|---|---|---|---|")
    print(
        f"| {kbps} | {reported[1]} | {later.mean():.0f} | {np.percentile(later, 99):.0f} | "
        f"{later.max():.0f} | {delay_ms[: args.rate].max():.0f} |"
    )
    first = delay_ms[0]
    print(f"\na buffer of {max(0.0, delay_ms.max() - first):.0f} ms never runs dry")


if __name__ == "__main__":
    main()
