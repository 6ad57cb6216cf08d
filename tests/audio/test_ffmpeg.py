"""What libsndfile does not read, by FFmpeg inside PyAV."""

import contextlib
import io
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from audio_files import Pipe, in_dir, on_disk
from made_by_ffmpeg import KINDS, LOSSLESS, RATE_HZ, decoded, make

from ncodec.audio import AudioSource, ffmpeg, read
from ncodec.audio.ffmpeg import FfmpegReader
from ncodec.errors import AudioError
from ncodec.formats.ncx import Picture

N = 100_003


def tones(n_channels: int = 2, n: int = N) -> np.ndarray:
    t = np.arange(n) / RATE_HZ
    pitches = 220 * np.arange(1, n_channels + 1)[:, None]
    return (0.3 * np.sin(2 * np.pi * pitches * t)).astype(np.float32)


def whole(source: Any) -> np.ndarray:
    with AudioSource(source) as opened:
        wav = np.concatenate(list(opened.blocks(7777)), axis=1)
        assert opened.n_samples == wav.shape[1]
        assert opened.truncated_at is None
    return wav


@pytest.mark.parametrize("name", KINDS)
def test_samples_are_those_of_ffmpeg(name: str, tmp_path: Path) -> None:
    path = make(name, tmp_path / name, tones())
    wav, expected = whole(path), decoded(path)
    if name != "mp3.wav":  # which libsndfile reads, and as long
        np.testing.assert_array_equal(wav, expected)
    assert wav.shape == expected.shape
    if name in LOSSLESS:
        assert wav.shape == (2, N)
        np.testing.assert_allclose(wav, tones(), atol=0.005)  # TTA: of 8 bits here


@pytest.mark.parametrize("make_source", [on_disk, io.BytesIO, Pipe], ids=["file", "memory", "pipe"])
def test_streams(make_source: Any, tmp_path: Path) -> None:
    path = make("aac.m4a", tmp_path / "a.m4a", tones())
    np.testing.assert_array_equal(whole(make_source(path.read_bytes())), decoded(path))


def test_channels_and_names_that_mislead(tmp_path: Path) -> None:
    path = make("alac.m4a", tmp_path / "a.mp3", tones(6))
    assert whole(path).shape == (6, N)


def test_tags(tmp_path: Path) -> None:
    path = make("aac.m4a", tmp_path / "a.m4a", tones(), title="Hum", artist="Bee", date="1999")
    with AudioSource(path) as source:
        assert set(source.tags) == {("TITLE", "Hum"), ("ARTIST", "Bee"), ("DATE", "1999")}


@pytest.mark.parametrize("suffix", ["mka", "mkv"])
def test_pictures_of_matroska(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    png, jpeg = b"\x89PNG\r\n\x1a\n" + bytes(50), b"\xff\xd8\xff" + bytes(300)
    with av.open(str(path), "w", format="matroska") as file:
        stream: Any = file.add_stream("flac", rate=RATE_HZ, layout="mono")
        file.add_attachment("cover.png", "image/png", png)
        file.add_attachment("disc.jpg", "image/jpeg", jpeg)
        file.add_attachment("notes.txt", "text/plain", b"thin")
        frame = av.AudioFrame.from_ndarray(np.ones((1, 9000), np.int16), "s16", "mono")
        frame.sample_rate, frame.pts = RATE_HZ, 0
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    with AudioSource(path) as source:
        assert source.metadata.pictures == (
            Picture(png, "image/png"), Picture(jpeg, "image/jpeg", 0, "disc.jpg"),
        )  # fmt: skip
        (block,) = source.blocks(10_000)
    assert np.array_equal(block, np.full((1, 9000), 2.0**-15, np.float32))


@pytest.mark.parametrize("name", ["aac.m4a", "opus.mka", "wv.wv", "flac.oga", "wma.wma"])
def test_a_cut_file_is_no_whole_one(name: str, tmp_path: Path) -> None:
    content = make(name, tmp_path / name, tones()).read_bytes()
    with pytest.raises(AudioError):
        read(in_dir(tmp_path, f"cut-{name}", content[: len(content) * 6 // 10]))


@pytest.mark.parametrize("name", ["wv.wv", "flac.oga", "alac.m4a"])
def test_damage_is_no_sound(name: str, tmp_path: Path) -> None:
    content = bytearray(make(name, tmp_path / name, tones()).read_bytes())
    at = len(content) // 2
    content[at : at + 40] = bytes(40)
    with pytest.raises(AudioError, match=r"truncated or damaged|can be read"):
        read(in_dir(tmp_path, f"bad-{name}", bytes(content)))


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make("aac.m4a", tmp_path / "a.m4a", tones())
    monkeypatch.setattr(ffmpeg, "is_there", lambda: False)
    said = "a.m4a: not an audio file that libsndfile reads; it is MPEG-4 (m4a, mp4): "
    said += "pip install 'ncodec[ffmpeg]' reads it"
    with pytest.raises(AudioError, match=re.escape(said)):
        read(path)


@pytest.mark.parametrize(
    "content",
    [
        b"#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n",
        b"ffconcat version 1.0\nfile /etc/hostname\n",
        b"<?xml version='1.0'?><MPD><BaseURL>http://127.0.0.1/</BaseURL></MPD>",
    ],
    ids=["hls", "concat", "dash"],
)
def test_no_other_file_is_read(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError("a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    with pytest.raises(AudioError, match="not an audio file"):
        read(on_disk(content))
    with pytest.raises(AudioError, match="FFmpeg cannot read it"):
        FfmpegReader(on_disk(content), "list")


@pytest.mark.parametrize("content", [b"\0\0\0\x20ftypM4A " + bytes(90), b"wvpk" + bytes(99)])
def test_what_is_only_a_start(content: bytes) -> None:
    with pytest.raises(AudioError, match=r"it is (MPEG-4|WavPack).*; FFmpeg cannot read it: "):
        read(on_disk(content))


def test_nothing_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    content = bytearray(make("aac.m4a", tmp_path / "a.m4a", tones()).read_bytes())
    content[5000:5100] = bytes(100)
    with contextlib.suppress(AudioError):
        read(on_disk(bytes(content)))
    assert capfd.readouterr() == ("", "")


def test_it_is_not_imported_without_need(tmp_path: Path) -> None:
    path = in_dir(tmp_path, "a.wav", b"")
    code = (
        "import sys, ncodec.audio, numpy as np\n"
        f"ncodec.audio.write({str(path)!r}, np.zeros((1, 99)), 8000, overwrite=True)\n"
        f"ncodec.audio.read({str(path)!r})\n"
        "assert 'av' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
