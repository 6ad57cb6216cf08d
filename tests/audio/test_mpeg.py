import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from audio_files import RATE_HZ, Pipe, noise, on_disk
from numpy.typing import NDArray

from ncodec.audio import AudioSource, read
from ncodec.audio.mpeg import Frame, find_start
from ncodec.errors import AudioError


def mp3_bytes(wav: NDArray[np.float32], rate_hz: int = RATE_HZ, **options: Any) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, wav.T, rate_hz, format="MP3", **options)
    return file.getvalue()


def without_length(mp3: bytes) -> bytes:
    start = find_start(io.BytesIO(mp3))
    assert start is not None
    assert start.has_length
    return mp3[start.audio_at + start.frame.n_bytes :]


def loud_then_silent(n_channels: int, n: int) -> NDArray[np.float32]:
    """Return what makes an MP3 of variable bitrate start with frames longer than the average."""
    wav = noise(n_channels, n)
    wav[:, n // 4 :] = 0
    return wav


def silent_frames(layer: int, bitrate_index: int, n: int, mode: int = 0xC0) -> bytes:
    kind = {1: 0xFF, 2: 0xFD}[layer]
    frame = Frame(bytes((0xFF, kind, bitrate_index << 4, mode)))
    return frame.header.ljust(frame.n_bytes, b"\0") * n


def libsndfile_count(mp3: bytes) -> int:
    return soundfile.info(io.BytesIO(mp3)).frames


@pytest.mark.parametrize("rate_hz", [8000, 11025, 22050, 24000, 44100, 48000])
@pytest.mark.parametrize("n_channels", [1, 2])
def test_a_variable_bitrate_without_a_length_is_read_to_its_end(
    rate_hz: int, n_channels: int
) -> None:
    wav = loud_then_silent(n_channels, 192_000)
    bare = without_length(mp3_bytes(wav, rate_hz, bitrate_mode="VARIABLE"))
    guess = libsndfile_count(bare)
    assert guess < 100_000
    with AudioSource(io.BytesIO(bare)) as source:
        assert source.n_samples is None
        found = np.concatenate(list(source.blocks(5000)), axis=1)
    assert source.n_samples == found.shape[1]
    assert 192_000 + 529 <= found.shape[1] <= 192_000 + 4 * 1152  # with the encoder's delay
    cut, _ = soundfile.read(io.BytesIO(bare), dtype="float32", always_2d=True)
    np.testing.assert_allclose(found[:, : len(cut)], cut.T, rtol=0, atol=1e-6)


@pytest.mark.parametrize("make", [on_disk, io.BytesIO, Pipe], ids=["file", "memory", "pipe"])
def test_tags_stay_without_a_length(make: Any) -> None:
    file = io.BytesIO()
    with soundfile.SoundFile(
        file, "w", RATE_HZ, 1, format="MP3", bitrate_mode="VARIABLE", compression_level=0.2
    ) as made:
        made.title = "Song"
        made.artist = "A"
        made.write(loud_then_silent(1, 100_000)[0])
    whole = file.getvalue()
    start = find_start(io.BytesIO(whole))
    assert start is not None
    tag = b"TIT2\0\0\0\x05\0\0\0Song"
    before = b"ID3\x03\0\0\0\0\0" + bytes([len(tag)]) + tag
    bare = before + without_length(whole)
    with AudioSource(make(bare)) as source:
        assert dict(source.tags)["TITLE"] == "Song"
        assert sum(block.shape[1] for block in source.blocks(5000)) > 100_000


def test_a_path_to_an_mp3_without_a_length(tmp_path: Path) -> None:
    path = tmp_path / "song.mp3"
    bare = without_length(mp3_bytes(loud_then_silent(1, 100_000), bitrate_mode="VARIABLE"))
    path.write_bytes(bytes(300) + bare)  # junk, which the name lets pass
    assert read(path)[0].shape[1] > 100_000
    assert path.read_bytes() == bytes(300) + bare


@pytest.mark.parametrize("mode", [0x00, 0xC0], ids=["stereo", "mono"])
@pytest.mark.parametrize("layer", [1, 2])
@pytest.mark.parametrize("indices", [(1, 10), (10, 1), (4, 4), (1, 1)])
def test_the_other_layers(layer: int, indices: tuple[int, int], mode: int) -> None:
    content = b"".join(silent_frames(layer, index, 70, mode) for index in indices)
    wav, rate_hz = read(io.BytesIO(content))
    assert rate_hz == 44100
    assert wav.shape == (2 if mode == 0 else 1, 140 * (384 if layer == 1 else 1152))
    assert not wav.any()


def test_what_has_a_length_is_read_as_before() -> None:
    mp3 = mp3_bytes(loud_then_silent(2, 50_000), bitrate_mode="VARIABLE")
    with AudioSource(io.BytesIO(mp3)) as source:
        assert source.n_samples is None  # the count may be off by a frame or two
        assert sum(block.shape[1] for block in source.blocks(999)) == 50_000
        assert source.n_samples == 50_000


def test_a_length_that_counts_only_the_first_of_joined_files_is_not_believed() -> None:
    first = mp3_bytes(noise(1, 50_000), bitrate_mode="CONSTANT", compression_level=0.5)
    second = mp3_bytes(noise(1, 70_000), bitrate_mode="CONSTANT", compression_level=0.1)
    assert libsndfile_count(first + second) == 50_000
    wav, _ = read(io.BytesIO(first + second))
    assert 120_000 < wav.shape[1] < 120_000 + 10 * 576
    assert find_start(io.BytesIO(first + b"TAG".ljust(128, b"\0"))).has_length  # type: ignore[union-attr]


@pytest.mark.parametrize(("rate_hz", "n_channels"), [(16000, 1), (48000, 1), (RATE_HZ, 2)])
def test_a_change_of_rate_or_channels_is_refused(rate_hz: int, n_channels: int) -> None:
    first = without_length(mp3_bytes(noise(1, 50_000)))
    second = without_length(mp3_bytes(noise(n_channels, 50_000), rate_hz))
    with pytest.raises(AudioError, match=r"\d+ samples can be read: MPEG audio of another kind"):
        read(io.BytesIO(first + second))


APE_FOOTER = b"APETAGEX" + struct.pack("<4I8x", 2000, 5000, 1, 1 << 31)
APE_TAG = APE_FOOTER + b"\1" * (5000 - 32) + APE_FOOTER
ID3V1_TAG = b"TAG" + b"Song".ljust(125, b"\0")


@pytest.mark.parametrize("tail", [b"", ID3V1_TAG, APE_TAG, APE_TAG + ID3V1_TAG])
def test_tags_at_the_end_are_no_audio(tail: bytes) -> None:
    bare = without_length(mp3_bytes(noise(1, 50_000)))
    with AudioSource(io.BytesIO(bare + tail)) as source:
        assert dict(source.tags).get("TITLE") == ("Song" if tail.endswith(ID3V1_TAG) else None)
        wav = np.concatenate(list(source.blocks(5000)), axis=1)
    np.testing.assert_allclose(wav, read(io.BytesIO(bare))[0], rtol=0, atol=1e-6)


def test_a_header_that_counts_nothing_is_no_length() -> None:
    mp3 = mp3_bytes(loud_then_silent(1, 100_000), bitrate_mode="VARIABLE")
    at = mp3.index(b"Xing") + 7
    for flags in (mp3[at] & 0xFE, mp3[at]):
        changed = bytearray(mp3)
        changed[at] = flags
        changed[at + 1 : at + 5] = bytes(4)
        assert read(io.BytesIO(bytes(changed)))[0].shape[1] > 100_000


def test_a_guess_that_is_too_short_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    bare = without_length(mp3_bytes(loud_then_silent(1, 100_000), bitrate_mode="VARIABLE"))
    monkeypatch.setattr(Frame, "silence", lambda self: bare[: self.n_bytes])
    with pytest.raises(AudioError, match="no header says how long it is"):
        read(io.BytesIO(bare))
    with AudioSource(io.BytesIO(bare), allow_truncated=True) as source:
        n_read = sum(block.shape[1] for block in source.blocks(5000))
    assert source.truncated_at == n_read < 100_000
