"""Audio files by their suffixes: what libsndfile reads and writes, and what FFmpeg reads."""

from functools import cache
from importlib.util import find_spec

WRITABLE = {  # format, its suffix -> libsndfile's container, subtype unless another is asked for
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "opus": ("OGG", "OPUS"),
    "aiff": ("AIFF", "PCM_16"),
    "caf": ("CAF", "PCM_16"),
    "w64": ("W64", "PCM_16"),
    "rf64": ("RF64", "PCM_16"),
}
ALIASES = {"oga": "ogg", "aif": "aiff"}
"""Other suffixes of these formats."""

RAW_FORMATS = {"u8": (1, False), "s16le": (2, False), "s24le": (3, False), "s32le": (4, False),
               "f32le": (4, True), "f64le": (8, True)}  # fmt: skip
"""Names of raw samples -> bytes of one, whether it is a float."""

LOSSY = frozenset({".mp2", ".mp3", ".oga", ".ogg", ".opus"})
READABLE = LOSSY | {
    ".8svx", ".aif", ".aifc", ".aiff", ".au", ".avr", ".bwf", ".caf", ".flac", ".htk", ".ircam",
    ".nist", ".paf", ".pvf", ".rf64", ".snd", ".sph", ".svx", ".voc", ".w64", ".wav", ".wave",
    ".xi",
}  # fmt: skip
"""Suffixes of what libsndfile reads, in lower case; LOSSY are those of lossy formats."""

WITH_FFMPEG = frozenset({
    ".aac", ".ac3", ".amr", ".ape", ".dff", ".dsf", ".dts", ".eac3", ".m4a", ".m4b", ".m4r", ".mka",
    ".mpc", ".oma", ".shn", ".tak", ".tta", ".webm", ".wma", ".wv",
})  # fmt: skip
"""Suffixes of audio that it does not read, but FFmpeg does."""
FFMPEG_EXTRA = "pip install 'ncodec[ffmpeg]'"


@cache
def readable() -> frozenset[str]:
    """Return the suffixes of what can be read here: of FFmpeg's too if PyAV is installed."""
    return READABLE | WITH_FFMPEG if find_spec("av") else READABLE
