"""Opus as a yardstick, through opusenc and opusdec of opus-tools.

Shapes: C channels, T samples.
"""

import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from ncodec.audio import read, write
from ncodec.audio.base import Audio
from ncodec.errors import AudioError, UsageError
from ncodec.evaluation.coders import RoundTrip

PROGRAMS = ("opusenc", "opusdec")
BANDWIDTHS_KBPS = (6.0, 8.0, 12.0, 16.0, 24.0)
STEREO_KBPS = (16.0, 24.0, 32.0, 48.0)


def check_installed() -> None:
    """Raise UsageError where the programs are not on the path."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        raise UsageError(
            f"opus: {' and '.join(missing)} not found; Debian and Homebrew have them in the "
            "package opus-tools"
        )


class OpusCoder:
    """Opus at its defaults: variable bit rate, frames of 20 ms, all effort."""

    name = "opus"

    def __init__(self, bandwidth_kbps: float) -> None:
        self.bandwidth_kbps = bandwidth_kbps  # of all channels

    def code(self, wav: Audio, sample_rate_hz: int) -> RoundTrip:
        """Encode [C, T] as an Ogg Opus file without tags and decode that. Raises AudioError."""
        with tempfile.TemporaryDirectory() as folder:
            source, coded, back = (Path(folder) / name for name in ("in.wav", "x.opus", "out.wav"))
            write(source, wav, sample_rate_hz, subtype="FLOAT")
            started = time.perf_counter()
            _run("opusenc", "--quiet", "--discard-comments", "--padding", "0",
                 "--bitrate", f"{self.bandwidth_kbps:g}", source, coded)  # fmt: skip
            encoded = time.perf_counter()
            _run("opusdec", "--quiet", "--float", "--rate", str(sample_rate_hz), coded, back)
            finished = time.perf_counter()
            blob, decoded = coded.read_bytes(), read(back)[0]
        return RoundTrip(
            decoded, len(blob), ogg_payload_bytes(blob), encoded - started, finished - encoded
        )


def _run(*command: str | Path) -> None:
    ran = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if ran.returncode:
        said = " ".join(ran.stderr.split()) or f"exit code {ran.returncode}"
        raise AudioError(f"{command[0]}: {said}")


def ogg_payload_bytes(blob: bytes) -> int:
    """Return the bytes of Opus packets in an Ogg Opus file (RFC 3533, RFC 7845).

    The rest is Ogg's pages and the two packets at the start, from which the audio differs by
    beginning a page of its own.
    """
    at = n_packets = payload = 0
    while at < len(blob):
        n_segments = blob[at + 26]
        lengths = blob[at + 27 : at + 27 + n_segments]
        if n_packets >= 2:
            payload += sum(lengths)
        n_packets += sum(length < 255 for length in lengths)
        at += 27 + n_segments + sum(lengths)
    return payload
