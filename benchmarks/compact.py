"""What compact weights do to audio: decoded by the player with both, in Node.

    python benchmarks/compact.py CLIP... [--kbps 3 6 12] [--seconds 8] [--metrics KEY...]

A clip's folder or name says "speech" or counts as music. The SNR is of the compact weights' audio
against that of the whole ones; metrics are each against the source. For docs/WEB.md.
"""

import argparse
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import soundfile

import ncodec
from ncodec.audio import resample
from ncodec.audio.base import Audio
from ncodec.evaluation.metrics import METRICS
from ncodec.hub.codecs import DEFAULT_MODEL, find
from ncodec.web.compact import compact

HERE = Path(__file__).parent


def middle_of(path: Path, seconds: float) -> tuple[Audio, int]:
    """Return the middle of a clip, [C, T], and its rate in Hz."""
    wav, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    length = min(len(wav), int(seconds * rate_hz))
    start = (len(wav) - length) // 2
    part = wav[start : start + length].T
    return np.ascontiguousarray(part / max(1, np.abs(part).max())), rate_hz


def decoded(files: list[Path], model: Path, suffix: str) -> list[Audio]:
    """Return what the player makes of files, each [C * T]."""
    script = ["node", str(HERE / "compact.mjs"), str(model), suffix, *map(str, files)]
    subprocess.run(script, check=True)
    return [np.fromfile(f"{path}{suffix}", "<f4") for path in files]


def snr_db(signal: Audio, other: Audio) -> float:
    """Return the SNR of another signal in dB."""
    return float(10 * np.log10(np.square(signal).sum() / np.square(other - signal).sum()))


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--kbps", type=float, nargs="+", default=[3, 6, 12])
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--metrics", nargs="*", default=["pesq_wb", "mel_distance"])
    given = parser.parse_args()
    model = find(DEFAULT_MODEL)
    rate_hz = model.config["sample_rate_hz"]
    metrics = [metric for metric in METRICS if metric.key in given.metrics]
    found = defaultdict[tuple[float, str, str], list[float]](list)
    jobs, files = [], []
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "compact.safetensors"
        small.write_bytes(compact(model))
        sys.stdout.write(f"{model.fingerprint.hex()}: {model.stamp[0]} bytes whole, ")
        sys.stdout.write(f"{small.stat().st_size} compact\n")
        for path in given.clips:
            wav, source_hz = middle_of(path, given.seconds)
            source = wav if source_hz == rate_hz else resample(wav, source_hz, rate_hz)
            kind = "speech" if "speech" in str(path) else "music"
            for kbps in given.kbps:
                files.append(Path(folder) / f"{len(files)}.ncx")
                coded = ncodec.encode(wav, source_hz, bandwidth_kbps=kbps, entropy="packed")
                files[-1].write_bytes(coded)
                jobs.append((kbps, kind, source))
        whole, less = decoded(files, model.path, ".whole"), decoded(files, small, ".compact")
    for (kbps, kind, source), first, second in zip(jobs, whole, less, strict=True):
        found[kbps, kind, "SNR in dB"].append(snr_db(first, second))
        for metric in metrics:
            if metric.speech_only and kind != "speech":
                continue
            both = [wav.reshape(len(source), -1)[:, : source.shape[1]] for wav in (first, second)]
            ends = [metric.compute(source[:, : wav.shape[1]], wav, rate_hz) for wav in both]
            if None not in ends:
                found[kbps, kind, metric.title].append(ends[0])
                found[kbps, kind, f"{metric.title}, change"].append(ends[1] - ends[0])
    sys.stdout.write("| kbps | | | clips | mean | least | most |\n|---|---|---|---|---|---|---|\n")
    for (kbps, kind, what), values in sorted(found.items()):
        numbers = f"{np.mean(values):.4f} | {min(values):.4f} | {max(values):.4f}"
        sys.stdout.write(f"| {kbps:g} | {kind} | {what} | {len(values)} | {numbers} |\n")


if __name__ == "__main__":
    main()
