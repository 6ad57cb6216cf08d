"""The way back, packets -> codes -> audio: all of a file, a segment of it, what is whole of it.

`decoder` is the whole path. In `ncodec.bitstream`, `access` finds the packets, or `recovery` what
is left of them, `timeline` says which frames make which samples, and `span_codes` takes their
codes; `contiguous_run` and `synthesis` make audio of them.
"""

from ncodec.bitstream.gaps import Gap
from ncodec.bitstream.recovery import RecoveringReader
from ncodec.decoding.decoder import Decoding
from ncodec.decoding.options import DecodeOptions

__all__ = ["DecodeOptions", "Decoding", "Gap", "RecoveringReader"]
