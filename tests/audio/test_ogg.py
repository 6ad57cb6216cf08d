"""Chained Ogg files: all links, or an error, never a part."""

import io
from typing import Any

import numpy as np
import pytest
import soundfile
from audio_files import Pipe, noise, on_disk

from ncodec.audio import AudioSource
from ncodec.audio.ogg import find_links
from ncodec.errors import AudioError


def ogg(n: int, subtype: str = "VORBIS", rate: int = 48000, n_channels: int = 1) -> bytes:
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", rate, n_channels, subtype, format="OGG") as made:
        made.title = f"Part of {n}"
        made.write(noise(n_channels, n).T)
    return file.getvalue()


def alone(content: bytes) -> np.ndarray:
    return soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)[0].T


@pytest.mark.quick
@pytest.mark.parametrize("make", [on_disk, io.BytesIO, Pipe], ids=["file", "memory", "pipe"])
@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_all_links_are_one_stream(subtype: str, make: Any) -> None:
    links = [ogg(n, subtype) for n in (30_000, 20_001, 9)]
    with AudioSource(make(b"".join(links))) as source:
        assert source.n_samples == 50_010
        assert source.tags == (("TITLE", "Part of 30000"),)
        found = np.concatenate(list(source.blocks(7000)), axis=1)
    np.testing.assert_array_equal(found, np.concatenate([alone(link) for link in links], axis=1))


@pytest.mark.parametrize(
    ("rate", "n_channels", "what"),
    [(24000, 1, "1 channels at 24000 Hz"), (48000, 2, "2 channels at 48000 Hz")],
)
def test_links_that_do_not_fit_are_an_error(rate: int, n_channels: int, what: str) -> None:
    second = ogg(900, rate=rate, n_channels=n_channels)
    with pytest.raises(AudioError, match=f"link 2 of a chained Ogg has {what}.*one by one"):
        AudioSource(on_disk(ogg(900) + second))


def test_a_link_that_is_cut_is_an_error() -> None:
    content = ogg(30_000) + ogg(30_000)
    for end in (len(content) - 9, len(content) - 3000):
        with (
            pytest.raises(AudioError, match="truncated"),
            AudioSource(on_disk(content[:end])) as source,
        ):
            list(source.blocks(1000))


def test_where_links_are() -> None:
    one, two = ogg(5000), ogg(400, "OPUS")
    assert find_links(io.BytesIO(one)) == [(0, len(one))]
    whole = one + two
    assert find_links(io.BytesIO(whole)) == [(0, len(one)), (len(one), len(whole))]
    assert find_links(io.BytesIO(one + b"TAG" + bytes(125))) == [(0, len(one) + 128)]
    for other in (b"", b"OggS", bytes(100), b"RIFF" + bytes(60)):
        assert find_links(io.BytesIO(other)) == []
