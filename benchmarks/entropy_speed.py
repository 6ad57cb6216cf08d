"""Speed of the coders on one thread: ours, and EnCodec's language model with its coder.

    pip install encodec && python benchmarks/entropy_speed.py [--kbps 6] [--seconds 300]

The figure is seconds of audio per second of processor time, at the same number of codebooks of 1024
and the same 75 frames a second; networks that turn audio into codes take no part. Ours codes a
whole file in packets of 10 s, encoded one by one and decoded side by side; and decodes a live
stream, a packet for every frame. EnCodec's is its published size with random weights, driven frame
by frame as its `compress` does; it needs no weights to be timed. Without the package, ours alone.
"""

import argparse
import io
import sys
import time
from collections.abc import Callable
from types import ModuleType

import numpy as np
import torch
from numpy.typing import NDArray
from speed import RATE_HZ, gflops, test_signal

import ncodec
from ncodec.bitstream.codes import iterate_codes
from ncodec.entropy import EntropyCoder, open_coder
from ncodec.formats.ncx import Reader
from ncodec.hub.codecs import find
from ncodec.hub.entropy_models import choose_entropy, load_network
from ncodec.native.threads import set_n_threads

FRAME_RATE_HZ = 75
Codes = NDArray[np.int64]  # [1, Q, F]


def best(action: Callable[[], object], repeats: int) -> float:
    """Return the processor seconds of the fastest of `repeats` runs."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        action()
        times.append(time.process_time() - start)
    return min(times)


def ours(name: str, packets: list[Codes], repeats: int) -> dict[str, float]:
    """Return times real time of encoding, of decoding a file, and of decoding a live stream."""
    model = choose_entropy(find("spectral"), name).model
    network = load_network(model) if model else None

    def coder() -> EntropyCoder:
        return open_coder(
            name, n_streams=1, n_codebooks=packets[0].shape[1], codebook_size=1024,
            network=network,
        )  # fmt: skip

    coder().encode(packets[0])  # warms up
    payloads = [coder().encode(codes) for codes in packets]
    lengths = [codes.shape[-1] for codes in packets]
    decoded = coder().decode_many(payloads, lengths)
    assert all(np.array_equal(a, b) for a, b in zip(decoded, packets, strict=True))
    encoder, live = coder(), packets[0]
    frames = [encoder.encode(live[..., n : n + 1], dependent=n > 0) for n in range(live.shape[-1])]

    def decode_live() -> None:
        decoder = coder()
        for number, payload in enumerate(frames):
            decoder.decode(payload, 1, dependent=number > 0)

    seconds = sum(lengths) / FRAME_RATE_HZ
    return {
        "encode": seconds / best(lambda: [coder().encode(codes) for codes in packets], repeats),
        "decode": seconds / best(lambda: coder().decode_many(payloads, lengths), repeats),
        "decode live": len(frames) / FRAME_RATE_HZ / best(decode_live, repeats),
    }


def encodec(codes: Codes) -> dict[str, float] | None:
    """Return the same of EnCodec's language model with its arithmetic coder, None without it."""
    try:
        import torchaudio  # noqa: F401
    except (ImportError, OSError, RuntimeError):  # its wheels load beside some builds of torch only
        sys.modules["torchaudio"] = ModuleType("torchaudio")  # not used by what is timed here
    try:
        from encodec.model import LMModel
        from encodec.quantization.ac import (
            ArithmeticCoder,
            ArithmeticDecoder,
            build_stable_quantized_cdf,
        )
    except ImportError:
        return None
    n_q = codes.shape[1]
    torch.manual_seed(0)
    model = LMModel(n_q, 1024, dim=200, num_layers=5, past_context=int(3.5 * FRAME_RATE_HZ)).eval()
    table = torch.from_numpy(codes)  # [1, Q, F]
    first = torch.zeros(1, n_q, 1, dtype=torch.long)

    @torch.no_grad()
    def encode() -> bytes:
        sink = io.BytesIO()
        coder, frame, states, offset = ArithmeticCoder(sink), first, None, 0
        for t in range(table.shape[-1]):
            shares, states, offset = model(frame, states, offset)
            for q in range(n_q):
                cdf = build_stable_quantized_cdf(
                    shares[0, :, q, 0], coder.total_range_bits, check=False
                )
                coder.push(int(table[0, q, t]), cdf)
            frame = 1 + table[..., t : t + 1]
        coder.flush()
        return sink.getvalue()

    @torch.no_grad()
    def decode(payload: bytes) -> None:
        decoder, frame, states, offset = ArithmeticDecoder(io.BytesIO(payload)), first, None, 0
        for _ in range(table.shape[-1]):
            shares, states, offset = model(frame, states, offset)
            found = [
                decoder.pull(build_stable_quantized_cdf(
                    shares[0, :, q, 0], decoder.total_range_bits, check=False))
                for q in range(n_q)
            ]  # fmt: skip
            frame = 1 + torch.tensor(found).view(1, n_q, 1)

    seconds = table.shape[-1] / FRAME_RATE_HZ
    payload = encode()
    return {
        "encode": seconds / best(encode, 1),
        "decode": seconds / best(lambda: decode(payload), 1),
    }


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kbps", type=float, default=6.0)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--repeats", type=int, default=2)
    args = parser.parse_args()
    set_n_threads(1)
    print(f"reference: {gflops():.0f} GFLOP/s on one thread\n")
    blob = ncodec.encode(
        test_signal(args.seconds), RATE_HZ, bandwidth_kbps=args.kbps, entropy="packed"
    )
    packets = list(iterate_codes(Reader(io.BytesIO(blob))))
    found, theirs = ours("transformer", packets, args.repeats), encodec(packets[0])
    adaptive = ours("adaptive", packets, args.repeats)
    print("| x real time | adaptive | transformer | EnCodec's | transformer / EnCodec's |")
    print("|---|---|---|---|---|")
    for what, speed in found.items():
        other = theirs and theirs[what.split()[0]]
        cells = (what, f"{adaptive[what]:.0f}", f"{speed:.1f}", *(
            (f"{other:.2f}", f"{speed / other:.1f}") if other else ("", "")))  # fmt: skip
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
