"""Throughput of `ncodec batch`, against a loop that encodes file by file.

    python benchmarks/batch.py [--workers 1 2] [--engines local ray] [--rounds 3]

Prints a Markdown table: times real time, over all of a library. "shell" is a shell loop over
`ncodec encode`, a few files long, without the time that starting Python and its imports takes, but
with that of loading the models. "loop" leaves that out too: one process that calls `encode_audio`,
or decodes, for one file after the other. The others are runs of `ncodec batch`, from the moment
that all workers have something to do to the last outcome; in brackets all of the run, with start
and end of the workers. Each figure is the best of the rounds, which take turns, so that what else
the machine does is spread.
"CPU" compares the processor time of the loop with that of `-j 0`, which does it in one process:
what is gained without a second core.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import soundfile

from ncodec.audio import AudioSink, AudioSource
from ncodec.batch import scheduler
from ncodec.batch.conversion import Conversion
from ncodec.batch.protocols import WorkerPool
from ncodec.batch.settings import AudioFormat
from ncodec.codec import encode_audio
from ncodec.decoding import Decoding
from ncodec.encoding.options import EncodeOptions
from ncodec.formats.ncx import Reader
from ncodec.native.threads import set_n_threads

RATE_HZ = 44_100


@dataclass(frozen=True)
class Library:
    """Files of one length."""

    name: str
    seconds: float
    n_files: int

    @property
    def total_s(self) -> float:
        """Of all files."""
        return self.seconds * self.n_files


def fill(folder: Path, library: Library, samples: Path) -> None:
    """Write excerpts of the samples of this repository, from other places in each file."""
    wavs = []
    for path in sorted(samples.glob("*.flac")):
        wav, rate = soundfile.read(path, dtype="float32", always_2d=True)
        wavs.append(np.repeat(wav.mean(1), round(RATE_HZ / rate)))
    sound = np.concatenate(wavs)
    rng = np.random.default_rng(0)
    n_samples = round(library.seconds * RATE_HZ)
    folder.mkdir()
    for number in range(library.n_files):
        start = rng.integers(len(sound))
        places = (start + np.arange(n_samples)) % len(sound)
        soundfile.write(folder / f"{number}.wav", sound[places], RATE_HZ)


def encode_loop(sources: Sequence[Path], folder: Path, model: str) -> None:
    """Encode one file after the other."""
    options = EncodeOptions(model).resolve()
    for path in sources:
        with AudioSource(path) as source, (folder / f"{path.stem}.ncx").open("wb") as sink:
            encode_audio(source, sink, options)


def decode_loop(sources: Sequence[Path], folder: Path) -> None:
    """Decode one file after the other."""
    for path in sources:
        with path.open("rb") as stream:
            decoding = Decoding(Reader(stream, str(path)))
            rate, n_channels = decoding.sample_rate_hz, decoding.n_channels
            target = folder / f"{path.stem}.flac"
            with AudioSink(target, rate, n_channels, n_samples=decoding.n_samples) as sink:
                for block in decoding.blocks():
                    sink.write(block)


def timed(action: Callable[[], object]) -> tuple[float, float]:
    """Return seconds that pass, and those of the processor."""
    started, cpu_started = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - started, time.process_time() - cpu_started


def shell_loop_seconds(sources: Sequence[Path], folder: Path, model: str) -> float:
    """Return what a process of its own takes for each file, but for starting with its imports."""

    def each(*command: str) -> float:
        return timed(lambda: subprocess.run([sys.executable, *command], check=True))[0]

    imports = "import torch, soundfile, ncodec.cli.encode, ncodec.codec, ncodec.audio"
    each("-c", imports)  # from the disk
    started = [each("-c", imports) for _ in sources]
    encode = ("-m", "ncodec", "encode", "-q", "-m", model, "-o")
    whole = [each(*encode, str(folder / f"{path.stem}.ncx"), str(path)) for path in sources]
    return (sum(whole) - sum(started)) / len(sources)


def batch_seconds(
    source: Path, target: Path, args: argparse.Namespace, engine: str, n_workers: int, *,
    decode: bool,
) -> tuple[float, float]:  # fmt: skip
    """Return the time that a run takes, and that without the start of the workers."""
    coding = AudioFormat() if decode else EncodeOptions(args.model)
    conversion = Conversion(
        source, target, coding, pool=WorkerPool(n_workers, engine, args.address)
    )
    assign, given = scheduler.Scheduler._assign, []

    def note(*args: Any) -> None:
        given.append(time.perf_counter())
        assign(*args)

    started = time.perf_counter()
    with patch.object(scheduler.Scheduler, "_assign", note):
        ends = [(time.perf_counter(), outcome.status) for outcome in conversion.outcomes()]
    ended = time.perf_counter()
    assert {status for _, status in ends} == {"done"}
    began = given[min(n_workers, len(given)) - 1] if given else started
    return ended - started, ends[-1][0] - began


def measure(library: Library, work: Path, args: argparse.Namespace, *, decode: bool) -> list[str]:
    """Return the cells of a row of the table."""
    pools = [(engine, n) for engine in args.engines for n in args.workers]
    source, target = work / library.name / ("ncx" if decode else "wav"), work / "target"
    paths = sorted(source.glob("*.*"))
    loops, alone, shell = [], [], ""
    whole, ready = [[] for _ in pools], [[] for _ in pools]
    for _ in range(args.rounds):
        target.mkdir()
        one_by_one = decode_loop if decode else partial(encode_loop, model=args.model)
        loops.append(timed(lambda run=one_by_one: run(paths, target)))
        shutil.rmtree(target)
        run_alone = partial(batch_seconds, source, target, args, "local", 0, decode=decode)
        alone.append(timed(run_alone)[1])
        shutil.rmtree(target)
        for place, (engine, n_workers) in enumerate(pools):
            all_s, ready_s = batch_seconds(source, target, args, engine, n_workers, decode=decode)
            whole[place].append(all_s)
            ready[place].append(ready_s)
            shutil.rmtree(target)
    if not decode and library.seconds < 10:
        target.mkdir()
        shell_s = shell_loop_seconds(paths[: args.processes], target, args.model)
        shell = f"{library.seconds / shell_s:.1f}"
        shutil.rmtree(target)
    total, loop_s = library.total_s, min(passed for passed, _ in loops)
    gain = min(cpu for _, cpu in loops) / min(alone)
    cells = [shell, f"{total / loop_s:.0f}", f"{gain:.2f}"]
    for some, other in zip(ready, whole, strict=True):
        times = loop_s / min(some)
        cells.append(f"{total / min(some):.0f} ({total / min(other):.0f}), {times:.2f} times loop")
    return cells


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="spectral")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--engines", nargs="+", default=["local", "ray"])
    parser.add_argument("--address")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clips", type=int, default=300, help="of a short library")
    parser.add_argument("--long", type=int, default=8, help="files of two minutes")
    parser.add_argument("--processes", type=int, default=8, help="of the shell loop")
    parser.add_argument("--rows", default="*", help="pattern of those to measure: '*2 s encode'")
    args = parser.parse_args()
    set_n_threads(1)
    samples = Path(__file__).parents[1] / "samples"
    libraries = [
        Library("0.5 s", 0.5, args.clips),
        Library("2 s", 2, args.clips),
        Library("2 min", 120, args.long),
        Library("10 min", 600, 1),
    ]
    pools = [f"{engine}, {count} workers" for engine in args.engines for count in args.workers]
    titles = ["files", "", "shell", "loop", "CPU", *pools]
    print(f"| {' | '.join(titles)} |")
    print("|---" * len(titles) + "|")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for library in libraries:
            (work / library.name).mkdir()
            fill(work / library.name / "wav", library, samples)
            for decode in (False, True):
                what = "decode" if decode else "encode"
                name = f"{library.n_files} of {library.name}"
                if fnmatchcase(f"{name} {what}", args.rows):
                    cells = measure(library, work, args, decode=decode)
                    print(f"| {' | '.join([name, what, *cells])} |", flush=True)
                if not decode:
                    coded = work / library.name / "ncx"
                    coded.mkdir()
                    encode_loop(sorted((work / library.name / "wav").iterdir()), coded, args.model)


if __name__ == "__main__":
    main()
