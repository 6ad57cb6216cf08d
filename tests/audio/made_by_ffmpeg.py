"""Audio in formats that libsndfile does not write, made by PyAV."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

KINDS: dict[str, tuple[str, str | None, int | None, str | None]] = {
    # name -> codec, container unless the suffix says it, rate and sample format unless usual
    "aac.m4a": ("aac", "ipod", None, None),
    "alac.m4a": ("alac", "ipod", None, None),
    "aac.aac": ("aac", "adts", None, None),
    "wma.wma": ("wmav2", "asf", None, "fltp"),
    "wv.wv": ("wavpack", None, None, None),
    "tta.tta": ("tta", None, None, None),
    "opus.mka": ("libopus", "matroska", 48000, None),
    "opus.webm": ("libopus", None, 48000, None),
    "flac.mka": ("flac", "matroska", None, None),
    "flac.oga": ("flac", "ogg", None, None),
    "ac3.ac3": ("ac3", None, None, None),
    "eac3.eac3": ("eac3", None, None, None),
    "mp3.wav": ("libmp3lame", None, None, None),
    "alac.caf": ("alac", None, None, None),
}
LOSSLESS = {"alac.m4a", "wv.wv", "tta.tta", "flac.mka", "flac.oga", "alac.caf"}
RATE_HZ = 44100


def make(name: str, path: Path, wav: NDArray[np.float32], **tags: str) -> Path:
    """Write [C, T] at RATE_HZ as one of KINDS."""
    codec, container, rate, sample = KINDS[name]
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[len(wav)]
    options: Any = {"b": "128000"} if codec == "wmav2" else {}
    with av.open(str(path), "w", format=container) as file:
        file.metadata.update(tags)
        stream: Any = file.add_stream(codec, rate=rate or RATE_HZ, layout=layout)
        stream.codec_context.options = options
        usual = stream.codec_context.codec.audio_formats
        sample = sample or ("s16p" if "s16p" in {one.name for one in usual} else usual[0].name)
        stream.codec_context.format = sample
        if codec == "wmav2":
            stream.codec_context.bit_rate = 128_000
        stream.codec_context.open()
        frame = av.AudioFrame.from_ndarray(wav, format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, 0, Fraction(1, RATE_HZ)
        n_frame = stream.codec_context.frame_size or 4096
        resampler = av.AudioResampler(sample, layout, rate or RATE_HZ, frame_size=n_frame)
        for part in (*resampler.resample(frame), *resampler.resample(None)):
            file.mux(stream.encode(part))
        file.mux(stream.encode(None))
    return path


def decoded(path: Path) -> NDArray[np.float32]:
    """Return [C, T] as FFmpeg itself has it."""
    with av.open(str(path)) as file:
        resampler = av.AudioResampler("fltp")
        frames = [part for frame in file.decode(audio=0) for part in resampler.resample(frame)]
        return np.concatenate([frame.to_ndarray() for frame in frames], axis=1)
