"""The way back, packets -> codes -> audio: all of a file, a stretch of it, what is whole of it.

`file` is the whole path; `access` finds the packets, or `salvage` what is left of them; `spans`
says which frames make which samples; `reading` takes their codes, `passage` and `playback` make
audio of them.
"""

from ncodec.bitstream.gaps import Gap
from ncodec.bitstream.recovery import Salvage
from ncodec.decoding.decoder import Decoding

__all__ = ["Decoding", "Gap", "Salvage"]
