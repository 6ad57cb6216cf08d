"""What entropy coding saves, as a Markdown table: bits per code and kbit/s of each coder.

    python benchmarks/entropy.py speech=clips/speech music=clips/music

Each GROUP=PATH is a file or a folder of audio; with --held-out CONFIG, only the files that a
training configuration names as validation. Files are coded as `ncodec encode` does, in key packets
of 10 s, at each bandwidth, mixed to the codec's channels. Order-0 entropy is that of all codes of
the group, codebook by codebook: the least that fixed frequencies could spend, had they been counted
on these very clips. Savings are of payload against plain packing.
"""

import argparse
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from quality import files

import ncodec
from ncodec import audio
from ncodec.codes import iterate_codes
from ncodec.entropy import open_coder
from ncodec.entropy_models import choose_entropy, load_network
from ncodec.formats.ncx import Reader
from ncodec.weights import find

CODERS = ("packed", "adaptive", "transformer")
Codes = NDArray[np.int64]  # [1, Q, F]


def packets(paths: list[Path], model: str, n_channels: int, n_q: int) -> Iterator[Codes]:
    """Yield the codes of all packets of all files."""
    for path in paths:
        wav, rate = audio.read(path)
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
    parser.add_argument("groups", nargs="+", metavar="GROUP=PATH")
    parser.add_argument("--model", default="spectral")
    parser.add_argument("--held-out", type=Path, metavar="CONFIG")
    parser.add_argument("--limit", type=int, default=1000, help="files of a group")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = find(args.model)
    config = model.config
    size, rate = config["codebook_size"], config["sample_rate_hz"] / config["samples_per_frame"]
    entropy_model = choose_entropy(model, "transformer").model
    assert entropy_model is not None
    network = load_network(entropy_model)
    print("| clips | kbps packed | order-0 entropy | adaptive | transformer | kbps | saved |")
    print("|---|---|---|---|---|---|---|")
    for group in args.groups:
        name, _, place = group.partition("=")
        paths = files(Path(place), args.held_out, args.limit)
        everything = list(packets(paths, args.model, config["n_channels"], config["n_codebooks"]))
        for kbps in config["bandwidths_kbps"]:
            n_q = round(kbps * 1000 / rate / (size - 1).bit_length())
            codes = [packet[:, :n_q] for packet in everything]
            n_codes = sum(packet.size for packet in codes)
            spent = {}
            for coder in CODERS:
                opened = open_coder(
                    coder, n_streams=1, n_codebooks=n_q, codebook_size=size,
                    network=network if coder == "transformer" else None,
                )  # fmt: skip
                spent[coder] = 8 * sum(len(opened.encode(packet)) for packet in codes) / n_codes
            saved = 1 - spent["transformer"] / spent["packed"]
            cells = (
                f"{name} ({len(paths)})",
                f"{kbps:g}",
                f"{order_0_bits(codes, size):.2f}",
                f"{spent['adaptive']:.2f}",
                f"{spent['transformer']:.2f}",
                f"{spent['transformer'] * n_q * rate / 1000:.2f}",
                f"{100 * saved:.1f} %",
            )
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
