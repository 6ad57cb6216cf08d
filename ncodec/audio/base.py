"""What all of ncodec.audio shares."""

import os
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

Audio = NDArray[np.float32]
Target = str | os.PathLike[str] | BinaryIO

MAX_CHANNELS = 64
TAGS = ("TITLE", "ARTIST", "ALBUM", "DATE", "TRACKNUMBER", "GENRE", "COMMENT", "COPYRIGHT",
        "LICENSE")  # fmt: skip
PIECE = 1 << 16  # samples in one call of libsndfile: its Vorbis encoder overflows the stack
