"""Audio files, pipes and resampling, block by block.

Shapes: C channels, T samples. Audio is float32 [C, T]; +-1 is full scale.

Importing this loads neither libsndfile nor soxr; the first file or rate change does.
"""

from ncodec.audio.array import ArraySource, MixedSource, Source, as_audio, as_rate
from ncodec.audio.base import MAX_CHANNELS
from ncodec.audio.metadata import Metadata
from ncodec.audio.resampling import Resampler, resample, resampled_length
from ncodec.audio.sink import AudioSink, write
from ncodec.audio.source import AudioSource, read

__all__ = [
    "MAX_CHANNELS",
    "ArraySource",
    "AudioSink",
    "AudioSource",
    "Metadata",
    "MixedSource",
    "Resampler",
    "Source",
    "as_audio",
    "as_rate",
    "read",
    "resample",
    "resampled_length",
    "write",
]
