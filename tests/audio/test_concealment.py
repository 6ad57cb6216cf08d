"""Damaged sources: what can be read of them, and what is said."""

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from audio_files import RATE_HZ, Pipe, in_dir, noise, on_disk, wav_bytes

from ncodec.audio import AudioSource, ffmpeg, read
from ncodec.errors import AudioError

N = 40_000


def concealed(source: Any) -> tuple[np.ndarray, AudioSource]:
    with AudioSource(source, conceal=True) as opened:
        before = opened.n_samples
        wav = np.concatenate(list(opened.blocks(997)), axis=1)
    assert before in (None, wav.shape[1])
    assert opened.n_samples == wav.shape[1]
    return wav, opened


@pytest.mark.parametrize("container", ["WAV", "RF64", "W64", "AIFF", "FLAC", "MP3"])
@pytest.mark.parametrize("make", [on_disk, io.BytesIO, Pipe], ids=["file", "memory", "pipe"])
def test_a_cut_file_keeps_its_length(container: str, make: Any) -> None:
    subtype = soundfile.default_subtype(container)
    content = wav_bytes(noise(2, N), subtype, container)[: 60_000 if container != "MP3" else 9000]
    with pytest.raises(AudioError, match="truncated"):
        read(make(content))
    wav, source = concealed(make(content))
    whole = wav_bytes(noise(2, N), subtype, container)
    expected = read(io.BytesIO(whole))[0]
    assert wav.shape == expected.shape
    n = source.truncated_at
    assert n is not None
    assert 4000 < n < N
    if container != "MP3":
        np.testing.assert_array_equal(wav[:, :n], expected[:, :n])
    assert not wav[:, n:].any()
    assert len(source.damage) == 1
    assert f"silence from {n / RATE_HZ:.2f} s on" in source.damage[0]


def test_ogg_does_not_tell_its_length() -> None:
    content = wav_bytes(noise(1, N), "VORBIS", "OGG")
    content = content[: len(content) * 6 // 10]
    wav, source = concealed(on_disk(content))
    assert wav.shape[1] == source.truncated_at
    assert "silence" not in source.damage[0]


@pytest.mark.parametrize("with_ffmpeg", [True, False])
def test_damage_within_a_flac(with_ffmpeg: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ffmpeg, "is_there", lambda: with_ffmpeg)
    content = bytearray(wav_bytes(noise(1, N), "PCM_16", "FLAC"))
    at = len(content) // 2
    content[at : at + 30] = bytes(30)
    expected = read(io.BytesIO(wav_bytes(noise(1, N), "PCM_16", "FLAC")))[0]
    wav, source = concealed(on_disk(bytes(content)))
    assert wav.shape == expected.shape
    assert source.damage
    same = (wav == expected).all(axis=0)
    assert same[: N // 2 - 5000].all()
    assert same[N // 2 + 5000 :].all() == with_ffmpeg


def test_values_that_are_not_finite() -> None:
    audio = noise(2, 5000)
    audio[1, 3210] = audio[0, 4000] = np.nan
    wav, source = concealed(on_disk(wav_bytes(audio, "FLOAT")))
    np.testing.assert_array_equal(wav, np.nan_to_num(audio))
    assert "sample 3210 of channel 2 is nan" in source.damage[0]
    assert source.truncated_at is None


def test_a_header_can_announce_anything() -> None:
    content = bytearray(wav_bytes(noise(1, 9000), "PCM_16", "FLAC"))
    content[21] |= 0x0F
    content[22:26] = b"\xff" * 4  # 2^36 - 1 samples
    source = AudioSource(on_disk(bytes(content)), conceal=True)
    blocks = source.blocks(1 << 16)
    assert next(blocks).shape[1] <= 1 << 16
    source.close()


def test_whole_files_are_what_they_were() -> None:
    for container in ("WAV", "FLAC", "OGG", "MP3"):
        content = wav_bytes(noise(1, N), soundfile.default_subtype(container), container)
        wav, source = concealed(on_disk(content))
        np.testing.assert_array_equal(wav, read(on_disk(content))[0])
        assert (source.damage, source.remarks) == ([], [])


@pytest.mark.parametrize("subtype", ["PCM_S8", "PCM_16", "PCM_24"])
@pytest.mark.parametrize("n_channels", [1, 2])
def test_md5_of_flac(subtype: str, n_channels: int, tmp_path: Path) -> None:
    content = bytearray(wav_bytes(noise(n_channels, N), subtype, "FLAC"))
    for change, remarks in ((0, 0), (1, 1)):
        content[26] ^= change
        with AudioSource(in_dir(tmp_path, f"{change}.flac", bytes(content))) as source:
            list(source.blocks(1000))
        assert len(source.remarks) == remarks
        assert all("MD5" in text for text in source.remarks)
    content[26:42] = bytes(16)  # unknown
    with AudioSource(on_disk(bytes(content))) as source:
        list(source.blocks(1000))
    assert source.remarks == []


@pytest.mark.parametrize("with_ffmpeg", [True, False])
def test_a_flac_whose_rate_changes(with_ffmpeg: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ffmpeg, "is_there", lambda: with_ffmpeg)
    first = wav_bytes(noise(1, N), "PCM_16", "FLAC")
    file = io.BytesIO()
    soundfile.write(file, noise(1, N).T, 44100, "PCM_16", format="FLAC")
    second = file.getvalue()
    content = first + second[second.index(b"\xff\xf8") :]
    with pytest.raises(AudioError, match=r"44100 Hz(, before that 1 at 24000)?$"):
        read(on_disk(content))


def chunks_of(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"".join(name + struct.pack("<I", len(text)) + text for name, text in chunks)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body


@pytest.mark.parametrize("make", [on_disk, io.BytesIO, Pipe], ids=["file", "memory", "pipe"])
@pytest.mark.parametrize(
    ("behind", "said"),
    [
        (((b"LIST", b"INFO"),), ""),
        (((b"data", bytes(200)),), "another data chunk"),
        (((b"bext", bytes(10)), (b"data", bytes(200))), "another data chunk"),
        (((b"\0\1\2\3", bytes(300)),), "no chunk: the size of its audio may be too small"),
    ],
)
def test_what_follows_the_audio_of_a_wav(make: Any, behind: Any, said: str) -> None:
    plain = wav_bytes(noise(1, 1000))
    form = (b"fmt ", plain[20:36])
    content = chunks_of(form, (b"data", plain[44:]), *behind)
    with AudioSource(make(content)) as source:
        wav = np.concatenate(list(source.blocks(300)), axis=1)
    np.testing.assert_array_equal(wav, read(io.BytesIO(plain))[0])
    assert len(source.remarks) == bool(said)
    assert said in " ".join(source.remarks)
