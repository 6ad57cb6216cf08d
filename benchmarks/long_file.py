"""Speed of a long file: encoding; decoding packet by packet, side by side, in threads; a second.

    python benchmarks/long_file.py [--minutes 10] [--bandwidth 6] [--model spectral]

One process, from memory to memory, after a run that does not count; seconds of audio a second.
"Packet by packet" has the entropy coder decode one packet after the other, as it must in a live
stream; "side by side" is what `ncodec decode` does. Encoding is with the default effort, on one
thread and in threads. Bytes and audio are the same in all cases, which is checked.
"""

import argparse
import io
import time
from unittest.mock import patch

import numpy as np
from speed import RATE_HZ, best, gflops, test_signal

import ncodec
from ncodec.decoding import DecodeOptions, Decoding
from ncodec.entropy import EntropyCoder
from ncodec.entropy.transformer import TransformerCoder
from ncodec.formats.ncx import Reader
from ncodec.native.threads import set_n_threads


class Counted(io.BytesIO):
    """Counts the bytes that are read."""

    n_read = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """See io.BytesIO."""
        content = super().read(size)
        self.n_read += len(content)
        return content

    read1 = read


def decode(blob: bytes, n_threads: int, start: float = 0, end: float | None = None) -> np.ndarray:
    """Return the audio [C, T]."""
    reader = Reader(io.BytesIO(blob), "file")
    decoding = Decoding(reader, DecodeOptions(start=start, end=end, n_threads=n_threads))
    return np.concatenate([*decoding.blocks()], axis=1)


def one_by_one(blob: bytes) -> np.ndarray:
    """Return the audio, decoded packet by packet."""
    alone = EntropyCoder.packets_at_once
    with patch.object(TransformerCoder, "packets_at_once", alone):
        return decode(blob, 1)


def main() -> None:
    """Print a Markdown table for each coder."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--model", default="spectral")
    parser.add_argument("--bandwidth", type=float, default=6.0)
    parser.add_argument("--entropy", default="adaptive,transformer")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    set_n_threads(1)
    seconds = 60 * args.minutes
    wav = test_signal(seconds)
    print(f"reference: {gflops():.0f} GFLOP/s on one thread\n")
    print("| entropy | encode | in threads | decode packet by packet | side by side | in threads | "
          "one second, s | bytes read |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|")
    for entropy in args.entropy.split(","):

        def encode(n_threads: int, seconds: float = seconds, entropy: str = entropy) -> bytes:
            set_n_threads(n_threads)
            return ncodec.encode(
                wav[: round(seconds * RATE_HZ)], RATE_HZ, model=args.model,
                bandwidth_kbps=args.bandwidth, entropy=entropy,
            )  # fmt: skip

        encode(1, 20)
        speeds, blobs = [], set()
        for n_threads in (1, args.threads):
            started = time.perf_counter()
            blobs.add(encode(n_threads))
            speeds.append(seconds / (time.perf_counter() - started))
        (blob,) = blobs
        set_n_threads(1)
        whole, middle = decode(blob, 1), seconds / 2
        ways = (
            lambda blob=blob: one_by_one(blob),
            lambda blob=blob: decode(blob, 1),
            lambda blob=blob: decode(blob, args.threads),
        )
        for way in ways:
            started = time.perf_counter()
            wav_back = way()
            speeds.append(seconds / (time.perf_counter() - started))
            assert np.array_equal(wav_back, whole)
        moment = best(lambda blob=blob, at=middle: decode(blob, 1, at, at + 1), 3)
        counted = Counted(blob)
        decoding = Decoding(Reader(counted, "file"), DecodeOptions(start=middle, end=middle + 1))
        got = np.concatenate([*decoding.blocks()], axis=1)
        first = round(middle * RATE_HZ)
        assert np.abs(got - whole[:, first : first + got.shape[1]]).max() <= 1e-4
        print(
            f"| {entropy} | {' | '.join(f'{speed:.0f}' for speed in speeds)} | {moment:.2f} | "
            f"{counted.n_read} of {len(blob)} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
