"""ncodec: compress audio with neural codecs into .ncx files, and get it back.

>>> import ncodec
>>> blob = ncodec.encode(wav, 48000, bandwidth_kbps=6)   # wav [C, T] or [T] float32 -> bytes
>>> wav, sample_rate_hz = ncodec.decode(blob)
>>> ncodec.encode_file("song.flac", "song.ncx")
>>> codes = ncodec.read_codes("song.ncx")                # [S, Q, F]

Live, samples to bytes and back as they come: `StreamEncoder` and `StreamDecoder`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ncodec.codec import (
        decode,
        decode_file,
        encode,
        encode_file,
        inspect,
        load_model,
        read_codes,
        write_codes,
    )
    from ncodec.formats.ncx import Picture
    from ncodec.streaming import StreamDecoder, StreamEncoder

__version__ = "0.2.0"
__all__ = [
    "Picture",
    "StreamDecoder",
    "StreamEncoder",
    "__version__",
    "decode",
    "decode_file",
    "encode",
    "encode_file",
    "inspect",
    "load_model",
    "read_codes",
    "write_codes",
]


def __getattr__(name: str) -> object:
    """Import the codec, and with it torch, when it is first used."""
    if name not in __all__:
        raise AttributeError(f"module 'ncodec' has no attribute {name!r}")
    home = "ncodec.streaming" if name.startswith("Stream") else "ncodec.codec"
    home = "ncodec.formats.ncx" if name == "Picture" else home
    return getattr(import_module(home), name)
