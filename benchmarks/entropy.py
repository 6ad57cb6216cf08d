"""What entropy coding saves, as a Markdown table: bits per code and kbit/s of each coder.

    python benchmarks/entropy.py clips/speech clips/music

Each folder of audio is a group, as for `ncodec evaluate --set`; with --held-out CONFIG, only the
files that a training configuration names as validation. Files are coded as `ncodec encode` does, in
key packets of 10 s, at each bandwidth, mixed to the codec's channels. Order-0 entropy is that of
all codes of the group, codebook by codebook: the least that fixed frequencies could spend, had they
been counted on these very clips. Savings are of payload against plain packing, by the last coder.
"""

import argparse
import io
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import ncodec
from ncodec import audio
from ncodec.bitstream.codes import iterate_codes
from ncodec.entropy import open_coder
from ncodec.evaluation.clips import Clip, find_clips
from ncodec.formats.ncx import Reader
from ncodec.hub.codecs import find
from ncodec.hub.entropy_models import find_for, load_network
from ncodec.native.threads import set_n_threads
from ncodec.training.config import read_config

CODERS = ("packed", "adaptive", "mixed", "transformer")
Codes = NDArray[np.int64]  # [1, Q, F]


def packets(clips: Iterable[Clip], model: str, n_channels: int, n_q: int) -> Iterator[Codes]:
    """Yield the codes of all packets of all clips."""
    for clip in clips:
        wav, rate = audio.read(clip.path)
        mixed = wav.mean(0, keepdims=True).repeat(n_channels, axis=0)
        blob = ncodec.encode(mixed, rate, model=model, n_q=n_q, entropy="packed")
        yield from iterate_codes(Reader(io.BytesIO(blob)))


def order_0_bits(codes: list[Codes], size: int) -> float:
    """Return the mean over codebooks of the entropy of all their codes, in bits per code."""
    bits = []
    for book in np.concatenate(codes, axis=-1)[0]:
        shares = np.bincount(book, minlength=size) / len(book)
        bits.append(-(shares[shares > 0] * np.log2(shares[shares > 0])).sum())
    return float(np.mean(bits))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--model", default="spectral")
    parser.add_argument("--held-out", type=Path, metavar="CONFIG")
    parser.add_argument("--clips", type=int, metavar="N", help="at most so many of a group")
    args = parser.parse_args()
    set_n_threads(1)
    model = find(args.model)
    config = model.config
    size, rate = config["codebook_size"], config["sample_rate_hz"] / config["samples_per_frame"]
    entropy_model = find_for(model)
    network = load_network(entropy_model) if entropy_model else None
    coders = CODERS if network else CODERS[:-1]
    print(f"| clips | kbps packed | order-0 entropy | {' | '.join(coders[1:])} | kbps | saved |")
    print(f"|---|---|---|{'---|' * (len(coders) + 1)}")
    patterns = read_config(args.held_out).data.validation if args.held_out else None
    found = find_clips([], args.folders, patterns=patterns, per_group=args.clips)
    for name, group in itertools.groupby(found, lambda clip: clip.group):
        clips = list(group)
        for kbps in config["bandwidths_kbps"]:
            n_q = round(kbps * 1000 / rate / (size - 1).bit_length())
            codes = list(packets(clips, args.model, config["n_channels"], n_q))
            n_codes = sum(packet.size for packet in codes)
            spent = {}
            for coder in coders:
                opened = open_coder(
                    coder, n_streams=1, n_codebooks=n_q, codebook_size=size,
                    network=network if coder == "transformer" else None,
                )  # fmt: skip
                spent[coder] = 8 * sum(len(opened.encode(packet)) for packet in codes) / n_codes
            fewest = spent[coders[-1]]
            cells = (
                f"{name} ({len(clips)})",
                f"{kbps:g}",
                f"{order_0_bits(codes, size):.2f}",
                *(f"{spent[coder]:.2f}" for coder in coders[1:]),
                f"{fewest * n_q * rate / 1000:.2f}",
                f"{100 * (1 - fewest / spent['packed']):.1f} %",
            )
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
