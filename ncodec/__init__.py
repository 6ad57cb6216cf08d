"""ncodec: compress audio with neural codecs into .ncx files, and get it back.

>>> import ncodec
>>> blob = ncodec.encode(wav, 48000, bandwidth_kbps=6)   # wav [C, T] or [T] float32 -> bytes
>>> wav, sample_rate_hz = ncodec.decode(blob)
>>> codes = ncodec.read_codes("song.ncx")                # [S, Q, F]

Live, samples to bytes and back as they come: `StreamEncoder` and `StreamDecoder`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ncodec.codec import decode, encode, read_codes
    from ncodec.streaming import StreamDecoder, StreamEncoder

__version__ = "0.1.0"
__all__ = ["StreamDecoder", "StreamEncoder", "__version__", "decode", "encode", "read_codes"]


def __getattr__(name: str) -> object:
    """Import the codec, and with it torch, when it is first used."""
    if name in ("encode", "decode", "read_codes"):
        return getattr(import_module("ncodec.codec"), name)
    if name in ("StreamEncoder", "StreamDecoder"):
        return getattr(import_module("ncodec.streaming"), name)
    raise AttributeError(f"module 'ncodec' has no attribute {name!r}")
