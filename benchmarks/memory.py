"""Peak memory of encoding and decoding long files, beside that of the loaded model.

    python benchmarks/memory.py [--hours 3] [--seconds 5] [--bandwidth 6] [--channels 1]

A short and a long WAV are made in a temporary folder, which needs room for two of the long one.
`ncodec encode` and `ncodec decode` run on them, each in a process of its own; from a pipe, the
header does not say how long the audio is. The peak is the largest resident memory of that process,
as the system counts it. The base is that of a process which imports the same, loads the codec and
its entropy model, and ends. Needs os.wait4: Linux or macOS.
"""

import argparse
import contextlib
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# No torch here: a child starts as a copy of this process, and its peak counts that in.
from ncodec.audio import AudioSink, AudioSource
from ncodec.audio.wav import WavHeader, pack_wav_header

SAMPLE_BYTES = 2
BASE = """
import sys
import soundfile, soxr
import ncodec.cli.decode, ncodec.cli.encode, ncodec.decoding
from ncodec.encoding.options import EncodeOptions
EncodeOptions(sys.argv[1], float(sys.argv[2]), entropy=sys.argv[3] or None).resolve()
"""


@dataclass(frozen=True, slots=True)
class Run:
    """What one child process took."""

    peak_mib: float
    seconds: float


def peak_mib(usage: resource.struct_rusage) -> float:
    """Return the peak of resident memory in MiB."""
    return usage.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def run(*command: str | Path, fed: Path | None = None, skipped: int = 0, head: bytes = b"") -> Run:
    """Run Python with these arguments; exit with what it says if it fails.

    fed      a file that is piped in, without its first `skipped` bytes, behind `head`
    """
    started = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(
            [sys.executable, *command], stdin=subprocess.PIPE if fed else subprocess.DEVNULL,
            stdout=said, stderr=said,
        )  # fmt: skip
        if fed is not None and child.stdin is not None:
            # A child that ends too early says why itself.
            with contextlib.suppress(BrokenPipeError), fed.open("rb") as file, child.stdin as pipe:
                file.seek(skipped)
                pipe.write(head)
                shutil.copyfileobj(file, pipe, 1 << 20)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - started
        if child.returncode:
            said.seek(0)
            sys.exit(said.read().decode(errors="replace"))
    own = peak_mib(resource.getrusage(resource.RUSAGE_SELF))
    peak = peak_mib(usage)
    assert peak > own, f"{peak:.0f} MiB may be this process's own: it has {own:.0f}"
    return Run(peak, seconds)


def signal(n_samples: int, n_channels: int, rate_hz: int) -> Iterator[np.ndarray]:
    """Yield blocks [C, T] float32 of what benchmarks/speed.py codes: noise and gliding tones."""
    rng = np.random.default_rng(0)
    n_block = max(1, (1 << 16) // n_channels)
    for start in range(0, n_samples, n_block):
        t = np.arange(start, min(start + n_block, n_samples)) / rate_hz
        glides = [np.sin(2 * np.pi * (f * t + 20 * np.sin(t * f / 300))) for f in (220, 555, 1310)]
        noise = rng.standard_normal((n_channels, len(t)), np.float32) * np.sin(t) ** 2
        yield (0.05 * np.sum(glides, 0) + 0.03 * noise).astype(np.float32)


def make(path: Path, seconds: float, n_channels: int, rate_hz: int) -> None:
    """Write a WAV of 16 bits, RF64 if it needs to be."""
    n_samples = round(seconds * rate_hz)
    with AudioSink(path, rate_hz, n_channels, n_samples=n_samples) as sink:
        for block in signal(n_samples, n_channels, rate_hz):
            sink.write(block)


def measure(folder: Path, seconds: float, args: argparse.Namespace) -> Iterator[tuple[str, Run]]:
    """Yield the runs on audio of so many seconds."""
    wav, ncx, back = folder / "a.wav", folder / "a.ncx", folder / "back.wav"
    make(wav, seconds, args.channels, args.rate)
    n_samples = round(seconds * args.rate)
    options = ["-m", args.model, "-b", str(args.bandwidth), "-f", "-q"]
    if args.entropy:
        options += ["--entropy", args.entropy]
    encode = ["-m", "ncodec", "encode", *options]
    yield "encode", run(*encode, wav, "-o", ncx)
    head = pack_wav_header(WavHeader(args.rate, args.channels, SAMPLE_BYTES, False, None))
    n_before = wav.stat().st_size - n_samples * args.channels * SAMPLE_BYTES
    yield "encode from a pipe", run(
        *encode, "-", "-o", folder / "piped.ncx", fed=wav, skipped=n_before, head=head
    )  # fmt: skip
    wav.unlink()
    yield "decode", run("-m", "ncodec", "decode", ncx, "-o", back, "-f", "-q")
    with AudioSource(back) as source:
        assert source.n_samples == n_samples
    back.unlink()


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--hours", type=float, default=3.0, help="of the long file")
    parser.add_argument("--seconds", type=float, default=5.0, help="of the short file")
    parser.add_argument("--bandwidth", type=float, default=6.0, metavar="KBPS")
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--rate", type=int, default=24000, metavar="HZ")
    parser.add_argument("--model", default="spectral")
    parser.add_argument("--entropy", metavar="CODER", help="by default as in `ncodec encode`")
    args = parser.parse_args()
    print("| | audio | peak MiB | MiB over the base | s | x real time |")
    print("|---|---|---|---|---|---|")
    base = run("-c", BASE, args.model, str(args.bandwidth), args.entropy or "")
    print(f"| the model, loaded | | {base.peak_mib:.0f} | | {base.seconds:.1f} | |", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for seconds in (args.seconds, 3600 * args.hours):
            length = f"{seconds:g} s" if seconds < 120 else f"{seconds / 3600:g} h"
            for what, child in measure(Path(folder), seconds, args):
                over, speed = child.peak_mib - base.peak_mib, seconds / child.seconds
                print(f"| {what} | {length} | {child.peak_mib:.0f} | {over:.0f} | "
                      f"{child.seconds:.1f} | {speed:.1f} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
