"""FLAC whose header is wrong about its length, or that a tag follows."""

import io
from typing import Any

import numpy as np
import pytest
import soundfile
from audio_files import Pipe, noise, on_disk

from ncodec.audio import AudioSource
from ncodec.audio.flac import inspect_flac

TAG = b"TAG" + bytes(125)


def flac(n: int, n_channels: int = 1, subtype: str = "PCM_16") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, noise(n_channels, n).T, 44100, subtype, format="FLAC")
    return file.getvalue()


def announcing(content: bytes, n: int) -> bytes:
    """Another number of samples in STREAMINFO."""
    kept = int.from_bytes(content[21:26], "big") >> 36 << 36
    return content[:21] + (kept | n).to_bytes(5, "big") + content[26:]


@pytest.mark.quick
@pytest.mark.parametrize("make", [on_disk, io.BytesIO, Pipe], ids=["file", "memory", "pipe"])
@pytest.mark.parametrize("announced", [100_000, 39_842, 1, 0])
@pytest.mark.parametrize("tail", [b"", TAG])
def test_all_samples_are_read(tail: bytes, announced: int, make: Any) -> None:
    whole = flac(100_000, 2)
    wanted = soundfile.read(io.BytesIO(whole), dtype="float32", always_2d=True)[0].T
    with AudioSource(make(announcing(whole, announced) + tail)) as source:
        found = np.concatenate(list(source.blocks(7000)), axis=1)
        assert source.n_samples == 100_000
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("n", [1, 16, 192, 4095, 4096, 4097, 20_000])
@pytest.mark.parametrize("subtype", ["PCM_S8", "PCM_16", "PCM_24"])
def test_the_end_of_the_last_frame_is_found(n: int, subtype: str) -> None:
    for n_channels in (1, 2, 8):
        content = flac(n, n_channels, subtype)
        found = inspect_flac(io.BytesIO(content))
        assert found is not None
        assert (found.n_samples, found.announced) == (n, n)
        assert (found.audio_end, found.needs_copy) == (len(content), False)
        tagged = inspect_flac(io.BytesIO(content + TAG))
        assert tagged is not None
        assert (tagged.audio_end, tagged.has_tag) == (len(content), True)


def test_nothing_is_found_where_there_is_nothing() -> None:
    content = flac(5000)
    for other in (
        b"",
        b"fLaC",
        content[:42],
        content[:-1],
        bytes(999),
        b"fLaC" + b"\xff\xf8" * 999,
    ):
        assert inspect_flac(io.BytesIO(other)) is None
