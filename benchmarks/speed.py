"""Speed of encoding and decoding on one thread and on two, and of the parts.

    python benchmarks/speed.py [--seconds 60] [--model spectral] [--effort fast]

The figure is audio seconds per second, the best of several runs in one process after a warm-up,
network and entropy coder together, from an array and to an array. The reference run beside it, a
fixed float32 matrix product, says how fast the machine was at that moment.
"""

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

import ncodec
from ncodec.native.threads import set_n_threads

RATE_HZ = 24000


def best(action: Callable[[], object], repeats: int) -> float:
    """Return the seconds of the fastest of `repeats` runs, after one that does not count."""
    action()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times)


def test_signal(seconds: float) -> np.ndarray:
    """Return noise through a slow tremolo and some gliding tones, [T] float32."""
    rng = np.random.default_rng(0)
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    glides = sum(np.sin(2 * np.pi * (f * t + 20 * np.sin(t * f / 300))) for f in (220, 555, 1310))
    return (0.05 * glides + 0.03 * rng.standard_normal(len(t)) * np.sin(t) ** 2).astype(np.float32)


def gflops() -> float:
    """Return what one thread does of a 1024 x 1024 x 1024 product, in GFLOP/s."""
    a = torch.randn(1024, 1024)
    return 2 * 1024**3 / best(lambda: a @ a, 5) / 1e9


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="spectral")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--bandwidths", default="1.5,3,6,12")
    parser.add_argument("--entropy", default="packed,adaptive,transformer")
    parser.add_argument("--effort", default="default")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    set_n_threads(1)
    wav = test_signal(args.seconds)
    print(f"reference: {gflops():.0f} GFLOP/s on one thread\n")
    print("| kbps | entropy | threads | encode, x real time | decode, x real time |")
    print("|---|---|---|---|---|")
    for kbps in map(float, args.bandwidths.split(",")):
        for entropy in args.entropy.split(","):

            def encode(kbps: float = kbps, entropy: str = entropy) -> bytes:
                return ncodec.encode(
                    wav, RATE_HZ, model=args.model, bandwidth_kbps=kbps, entropy=entropy,
                    effort=args.effort,
                )  # fmt: skip

            blob = encode()
            for n_threads in (1, 2):
                with ThreadPoolExecutor(n_threads) as pool:

                    def each(action: Callable[[], object], pool=pool, n=n_threads) -> None:
                        list(pool.map(lambda _: action(), range(n)))

                    audio_s = args.seconds * n_threads
                    encoding = audio_s / best(lambda each=each: each(encode), args.repeats)
                    decoding = audio_s / best(
                        lambda each=each, blob=blob: each(lambda: ncodec.decode(blob)), args.repeats
                    )
                print(f"| {kbps:g} | {entropy} | {n_threads} | {encoding:.0f} | {decoding:.0f} |",
                      flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
