"""What the search for codes saves, what it costs, and what each quality gives: Markdown tables.

    python benchmarks/search.py clips/speech clips/music --held-out CONFIG --clips 8

Each folder of audio is a group, as for `ncodec evaluate --set`. Of each clip the middle 10 s are
coded, mixed to the codec's channels. Bits are those of the transformer's payloads; the error is
that of the latents, over their energy. Savings at equal error compare with the curve through "fast"
with one codebook less, as many, and one more. Speed is of whole encodes of a minute made of the
clips on one thread, the best of several.
"""

import argparse
import io
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import ncodec
from ncodec.audio.distances import mel_distance, si_sdr
from ncodec.bitstream.codes import decode_packets
from ncodec.encoding.effort import choose_search
from ncodec.entropy import open_coder
from ncodec.entropy.torch_search import nearest
from ncodec.evaluation.clips import Clip, Excerpt, find_clips, load_clip
from ncodec.formats.ncx import Reader
from ncodec.hub.codecs import find, load_torch_codec
from ncodec.hub.entropy_models import choose_entropy, load_network
from ncodec.models import EFFORTS
from ncodec.models.torch_codec import TorchCodec
from ncodec.native.threads import set_n_threads
from ncodec.nn.rvq import Search
from ncodec.training.config import read_config

QUALITIES = range(11)


def latents_of(codec: TorchCodec, wav: np.ndarray) -> Tensor:
    """Return the latents [1, F, D] of [C, T] samples at the codec's rate."""
    seen: list[Tensor] = []

    def see(latents: Tensor, codebooks: Tensor) -> Tensor:
        seen.append(latents)
        return nearest(latents, codebooks[:1])[0]

    codec.encode(torch.from_numpy(wav)[None].expand(1, codec.config.n_channels, -1), 1, search=see)
    return seen[0]


@dataclass(slots=True)
class Point:
    """Bits and error of some clips at once."""

    bits: float = 0.0
    n_frames: int = 0
    error: float = 0.0
    energy: float = 0.0

    @property
    def per_frame(self) -> float:
        """Bits per frame."""
        return self.bits / self.n_frames

    @property
    def decibels(self) -> float:
        """Error over energy."""
        return 10 * np.log10(self.error / self.energy)


@dataclass
class Bench:
    """A model, and how its codes are priced."""

    model_id: str
    codec: TorchCodec = field(init=False)

    def __post_init__(self) -> None:
        self.model = find(self.model_id)
        self.codec = load_torch_codec(self.model)
        self.rate = self.codec.config.sample_rate_hz

    @torch.inference_mode()
    def point(self, latents: Sequence[Tensor], n_q: int, search: int | Search) -> Point:
        """Return what a search comes to."""
        entropy = choose_entropy(self.model, "transformer", n_q)
        assert entropy.model is not None
        coder = open_coder(
            "transformer", n_streams=1, n_codebooks=n_q, network=load_network(entropy.model),
            codebook_size=self.codec.config.codebook_size,
        )  # fmt: skip
        found, quantiser = Point(), self.codec.quantiser
        for each in latents:
            codes = quantiser.encode(each, n_q, search)
            found.bits += 8 * len(coder.encode(codes.numpy()))
            found.n_frames += codes.shape[2]
            found.error += (each - quantiser.decode(codes)).square().sum().item()
            found.energy += each.square().sum().item()
        return found

    def search(self, effort: str, n_q: int) -> int | Search:
        """Return the search of a level of effort."""
        return choose_search(
            effort, self.codec, n_q, choose_entropy(self.model, "transformer", n_q)
        )


def equal_error_bits(fast: Sequence[Point], decibels: float) -> float:
    """Return what "fast" takes for an error, on the line between the points that surround it."""
    points = sorted((point.decibels, point.per_frame) for point in fast)
    for (low, many), (high, few) in itertools.pairwise(points):
        if decibels <= high or (high, few) == points[-1]:
            return many + (few - many) * (decibels - low) / (high - low)
    return points[0][1]


def print_curves(bench: Bench, groups: dict[str, list[Tensor]], counts: Sequence[int]) -> None:
    """Print bits and error of each level of effort."""
    print("| clips | codebooks | effort | bits per frame | kbps | error, dB | transformer, of "
          "packed | search, at equal error |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|")
    config = bench.codec.config
    width = (config.codebook_size - 1).bit_length()
    for (name, latents), n_q in itertools.product(groups.items(), counts):
        around = [n for n in (n_q - 1, n_q, n_q + 1) if 1 <= n <= config.n_codebooks]
        fast = [bench.point(latents, n, bench.search("fast", n)) for n in around]
        for effort in EFFORTS:
            found = bench.point(latents, n_q, bench.search(effort, n_q))
            saved = 1 - found.per_frame / equal_error_bits(fast, found.decibels)
            cells = (
                f"{name} ({len(latents)})", n_q, effort, f"{found.per_frame:.1f}",
                f"{found.per_frame * config.frame_rate_hz / 1000:.2f}", f"{found.decibels:.2f}",
                f"{100 * (1 - found.per_frame / (n_q * width)):.1f} %",
                f"{100 * saved:.1f} %" if effort != "fast" else "",
            )  # fmt: skip
            print(f"| {' | '.join(map(str, cells))} |", flush=True)


def print_speeds(bench: Bench, wav: np.ndarray, counts: Sequence[int], repeats: int) -> None:
    """Print how long whole encodes take."""
    print(f"| effort | {' | '.join(f'{n_q} codebooks' for n_q in counts)} |")
    print(f"|---|{'---|' * len(counts)}")
    seconds = wav.shape[1] / bench.rate
    for effort in EFFORTS:
        speeds = []
        for n_q in counts:
            times = []
            for _ in range(repeats + 1):
                started = time.perf_counter()
                ncodec.encode(wav, bench.rate, model=bench.model_id, n_q=n_q, effort=effort)
                times.append(time.perf_counter() - started)
            speeds.append(f"{seconds / min(times[1:]):.1f}")
        print(f"| {effort} | {' | '.join(speeds)} |", flush=True)


def print_qualities(bench: Bench, groups: dict[str, list[np.ndarray]]) -> None:
    """Print what each quality comes to: rate, and what is heard."""
    print("| clips | quality | codebooks | kbps | SI-SDR, dB | mel distance |")
    print("|---|---|---|---|---|---|")
    for (name, wavs), quality in itertools.product(groups.items(), QUALITIES):
        n_bytes, seconds, ratios, distances, n_q = 0, 0.0, [], [], 0
        for wav in wavs:
            blob = ncodec.encode(wav, bench.rate, model=bench.model_id, quality=quality)
            reader = Reader(io.BytesIO(blob))
            n_q = reader.header.n_codebooks
            n_bytes += sum(len(packet.payload) for packet, _ in decode_packets(reader))
            back, _ = ncodec.decode(blob)
            ratios.append(si_sdr(wav, back, bench.rate))
            distances.append(mel_distance(wav, back, bench.rate))
            seconds += wav.shape[1] / bench.rate
        known = [ratio for ratio in ratios if ratio is not None]
        cells = (
            f"{name} ({len(wavs)})", quality, n_q, f"{n_bytes * 8 / seconds / 1000:.2f}",
            f"{np.mean(known):.2f}", f"{np.mean(distances):.3f}",
        )  # fmt: skip
        print(f"| {' | '.join(map(str, cells))} |", flush=True)


def load(clips: Sequence[Clip], rate_hz: int) -> list[np.ndarray]:
    """Return the middle of clips [1, T]; none that is shorter than a second."""
    excerpt = Excerpt(sample_rate_hz=rate_hz, mono=True)
    wavs = [load_clip(clip, excerpt)[0] for clip in clips]
    return [wav for wav in wavs if wav.shape[1] >= rate_hz]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--model", default="spectral")
    parser.add_argument("--held-out", type=Path, metavar="CONFIG")
    parser.add_argument("--clips", type=int, metavar="N", help="at most so many of a group")
    parser.add_argument("--codebooks", default="4,8,16")
    parser.add_argument("--tables", default="curves,speeds,qualities")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    set_n_threads(1)
    bench, counts = Bench(args.model), [int(count) for count in args.codebooks.split(",")]
    patterns = read_config(args.held_out).data.validation if args.held_out else None
    found = find_clips([], args.folders, patterns=patterns, per_group=args.clips)
    groups = {
        name: load(list(clips), bench.rate)
        for name, clips in itertools.groupby(found, lambda clip: clip.group)
    }
    if "curves" in args.tables:
        latents = {
            name: [latents_of(bench.codec, wav) for wav in wavs] for name, wavs in groups.items()
        }
        print_curves(bench, latents, counts)
    if "speeds" in args.tables:
        every = np.concatenate([wav for wavs in groups.values() for wav in wavs], axis=1)
        minute = np.resize(every, (1, 60 * bench.rate))
        print_speeds(bench, minute, counts, args.repeats)
    if "qualities" in args.tables:
        print_qualities(bench, groups)


if __name__ == "__main__":
    main()
