"""Codes as data for language models: sizes, and tokens a second on one core.

    python benchmarks/codes.py [--clips 200] [--seconds 4] [--n-q 8] [--rounds 3]

Clips are cut from the mono samples, which are repeated, each from another place, and encoded with
the default model. Prints a Markdown table: .ncx files by the `packed` and the `transformer` coder,
and the same codes as an int64 .npy file each. A token is a code of one codebook. "files" reads
whole files (`read_codes`, `numpy.load`), "stream" is all windows of a second of `CodesStream`,
shuffled, "windows" as many windows of a second at random of `CodesWindows`; of .npy files, of which
a window is a slice of a mapped file, the same. Each figure is the best of the rounds, on one
thread, per second of processor time, with all files in the system's cache.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

import ncodec
from ncodec.batch.data import CodesStream, CodesWindows, ExportOptions, export
from ncodec.native.threads import set_n_threads

SAMPLES = Path(__file__).parents[1] / "samples"
SOURCES = ("speech_male", "speech_female", "music_mono")
WINDOW = 75  # frames, a second


def make_clips(folder: Path, n_clips: int, seconds: float, n_q: int) -> None:
    """Encode clips by the transformer, and write their codes by the packed coder and as .npy."""
    sounds = [soundfile.read(SAMPLES / f"{name}.flac", dtype="float32") for name in SOURCES]
    for coder in ("packed", "transformer", "npy"):
        (folder / coder).mkdir()
    for number in range(n_clips):
        wav, rate = sounds[number % len(sounds)]
        start = number * 9973 % len(wav)
        clip = np.resize(np.roll(wav, -start), round(seconds * rate))
        blob = ncodec.encode(clip, rate, n_q=n_q, effort="fast")
        codes, facts = ncodec.read_codes(blob, with_facts=True)
        (folder / "transformer" / f"{number:04}.ncx").write_bytes(blob)
        ncodec.write_codes(
            folder / "packed" / f"{number:04}.ncx", codes, facts=facts, entropy="packed"
        )
        np.save(folder / "npy" / f"{number:04}.npy", codes.astype(np.int64))


def rate_of(read: Callable[[], int], rounds: int) -> float:
    """Return tokens a second of the best round; `read` returns how many it read."""
    best = 0.0
    for _ in range(rounds):
        start = time.process_time()
        n_tokens = read()
        best = max(best, n_tokens / (time.process_time() - start))
    return best


def ncx_rates(folder: Path, rounds: int) -> list[float]:
    """Return the rates of whole files, of a stream, and of windows."""
    paths, chance = sorted(folder.iterdir()), np.random.default_rng(0)
    stream, windows = CodesStream([folder], WINDOW, seed=0), CodesWindows([folder], WINDOW)
    places = chance.permutation(len(windows)).tolist()
    return [
        rate_of(lambda: sum(ncodec.read_codes(path).size for path in paths), rounds),
        rate_of(lambda: sum(codes.numel() for codes in stream), rounds),
        rate_of(lambda: sum(windows[at].numel() for at in places), rounds),
    ]


def npy_rates(folder: Path, rounds: int) -> list[float]:
    """Return the rates of whole .npy files, and of their windows, in order and at random."""
    paths = sorted(folder.iterdir())
    sizes = [np.load(path, mmap_mode="r").shape[2] // WINDOW for path in paths]
    places = [(path, at * WINDOW) for path, n in zip(paths, sizes, strict=True) for at in range(n)]
    mixed = [places[at] for at in np.random.default_rng(0).permutation(len(places))]

    def windows(of: list[tuple[Path, int]]) -> int:
        return sum(
            np.array(np.load(path, mmap_mode="r")[:, :, at : at + WINDOW]).size for path, at in of
        )

    return [
        rate_of(lambda: sum(np.load(path).size for path in paths), rounds),
        rate_of(lambda: windows(places), rounds),
        rate_of(lambda: windows(mixed), rounds),
    ]


def export_rate(folder: Path, rounds: int, n_tokens: int) -> float:
    """Return the tokens a second of an export to .npy shards, by one process."""
    best = 0.0
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as out:
            start = time.process_time()
            export([folder], out, ExportOptions("npy"), n_workers=0)
            best = max(best, n_tokens / (time.process_time() - start))
    return best


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--n-q", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    set_n_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_clips(folder, args.clips, args.seconds, args.n_q)
        n_tokens = sum(ncodec.read_codes(path).size for path in (folder / "packed").iterdir())
        print(f"{args.clips} clips of {args.seconds:g} s, {args.n_q} codebooks, {n_tokens} tokens")
        print("| | bytes a token | kbit/s | of int64 .npy | files, tokens/s | stream | windows "
              "| export |")  # fmt: skip
        print("|---|---:|---:|---:|---:|---:|---:|---:|")
        sizes = {
            kind: sum(path.stat().st_size for path in (folder / kind).iterdir())
            for kind in ("npy", "packed", "transformer")
        }
        for kind, size in sizes.items():
            is_npy = kind == "npy"
            rates = (npy_rates if is_npy else ncx_rates)(folder / kind, args.rounds)
            texts = [f"{rate / 1e6:.2f} M" for rate in rates]
            exported = "" if is_npy else export_rate(folder / kind, args.rounds, n_tokens)
            texts.append(f"{exported / 1e6:.2f} M" if isinstance(exported, float) else "")
            kbps = size * 8 / 1000 / args.clips / args.seconds
            print(f"| {kind} | {size / n_tokens:.2f} | {kbps:.2f} | "
                  f"{size / sizes['npy']:.1%} | {' | '.join(texts)} |")  # fmt: skip


if __name__ == "__main__":
    main()
