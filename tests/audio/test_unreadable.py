import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from audio_files import Pipe, in_dir, noise, on_disk, wav_bytes
from hypothesis import given, settings
from hypothesis import strategies as st

from ncodec.audio import AudioSource, read
from ncodec.errors import AudioError


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda d: d / "no.wav", "no.wav: cannot be read: No such file or directory"),
        (lambda d: d, "cannot be read: Is a directory"),
        (lambda d: in_dir(d, "e.wav", b""), "e.wav: is empty"),
        (lambda d: Pipe(b""), "stream: is empty"),
        (lambda d: in_dir(d, "t.wav", b"To be or not to be\n" * 40),
         "t.wav: not an audio file that libsndfile reads; it is text"),
        (lambda d: Pipe(b"To be or not to be\n" * 40), "stream: not an audio file"),
        (lambda d: Pipe(b"RIFF\0\0\0\0WAVEfmt "), "stream: not an audio file"),
        (lambda d: Pipe(b"RIFF"), "stream: not an audio file"),
        (lambda d: in_dir(d, "x.raw", bytes(100)), "x.raw: raw audio has no header"),
        (lambda d: str(d / "a\0b.wav"), "cannot be read: embedded null"),
        (lambda d: in_dir(d, "c.wav", wav_bytes(noise(65, 9))), "65 channels, 1 to 64"),
        (lambda d: Pipe(wav_bytes(noise(65, 9))), "65 channels, 1 to 64"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_says_why_in_one_line(
    tmp_path: Path, make: Callable[[Path], Any], message: str
) -> None:
    with pytest.raises(AudioError, match=re.escape(message)) as caught:
        read(make(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("make_source", [on_disk, io.BytesIO, Pipe], ids=["file", "memory", "pipe"])
def test_a_value_that_is_no_number_is_named_with_its_place(make_source: Any, value: float) -> None:
    wav = noise(2, 5000)
    wav[1, 3210] = wav[0, 4000] = value
    source = AudioSource(make_source(wav_bytes(wav, "FLOAT")))
    with pytest.raises(AudioError, match=f"sample 3210 of channel 2 is {value}"):
        list(source.blocks(1000))


@pytest.mark.parametrize("container", ["WAV", "RF64", "W64", "AIFF", "FLAC", "MP3", "OGG"])
@pytest.mark.parametrize("kind", ["path", "stream", "pipe"])
def test_truncated_audio_is_refused_unless_allowed(
    tmp_path: Path, container: str, kind: str
) -> None:
    whole = wav_bytes(noise(1, 40000), subtype=soundfile.default_subtype(container),
                      container=container)  # fmt: skip
    content = whole[: len(whole) * 6 // 10 + 1]
    make = {
        "path": lambda: in_dir(tmp_path, "cut", content),
        "stream": lambda: on_disk(content),
        "pipe": lambda: Pipe(content),
    }[kind]
    with pytest.raises(AudioError, match="truncated") as caught:
        read(make())
    counts = [int(number) for number in re.findall(r"(\d+) (?:samples|are|can)", str(caught.value))]
    with AudioSource(make(), allow_truncated=True) as source:
        wav = np.concatenate(list(source.blocks(1000)), axis=1)
    assert 10000 < wav.shape[1] < 30000
    assert source.truncated_at == source.n_samples == wav.shape[1] == counts[-1]
    if container != "OGG":
        assert counts[0] == 40000
    if container not in ("MP3", "OGG"):
        np.testing.assert_allclose(wav, noise(1, 40000)[:, : wav.shape[1]], atol=1 / 32768)


@pytest.mark.parametrize("container", ["CAF", "OGG"])
def test_audio_cut_too_short_for_libsndfile_is_called_truncated(container: str) -> None:
    content = wav_bytes(noise(1, 40000), soundfile.default_subtype(container), container)
    with pytest.raises(AudioError, match=r"truncated: its last \d+ bytes are missing"):
        read(io.BytesIO(content[: 5000 if container == "CAF" else 2000]))


@pytest.mark.parametrize("container", ["FLAC", "OGG"])
def test_damage_in_the_middle_is_refused(container: str) -> None:
    content = bytearray(wav_bytes(noise(1, 100_000), soundfile.default_subtype(container),
                                  container))  # fmt: skip
    middle = len(content) // 2
    content[middle : middle + 300] = bytes(300)
    with pytest.raises(AudioError, match=r"header announces 100000 samples, \d+ can be read"):
        read(io.BytesIO(content))


def test_a_whole_file_is_not_called_truncated() -> None:
    with AudioSource(io.BytesIO(wav_bytes(noise(1, 100))), allow_truncated=True) as source:
        list(source.blocks(10))
    assert source.truncated_at is None


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_damage_gives_audio_or_an_audio_error(data: st.DataObject) -> None:
    content = bytearray(wav_bytes(noise(2, 200), "PCM_24", data.draw(st.sampled_from(
        ["WAV", "WAVEX", "RF64", "AIFF", "W64", "CAF"]))))  # fmt: skip
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, min(len(content), 160) - 1))] = data.draw(
            st.integers(0, 255)
        )
    content = content[: data.draw(st.integers(0, len(content)))]
    for make in (on_disk, Pipe):
        try:
            wav, _ = read(make(bytes(content)))
        except AudioError:
            continue
        assert wav.dtype == np.float32
        assert wav.ndim == 2


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"<!DOCTYPE html><html>" + bytes(99), "a page of HTML or XML"),
        (b"\xef\xbb\xbf <?xml version='1'?>", "a page of HTML or XML"),
        (b"\0\0\0\x20ftypM4A " + bytes(99), "MPEG-4 (m4a, mp4)"),
        (b"ID3\x04\0\0\0\0\0\x0fTIT2\0\0\0\x05\0\0\x03Hum\0", "an ID3 tag without MPEG audio"),
        (b"\xff\xf1\x50\x80" + bytes(99), "AAC"),
        (b"wvpk" + bytes(99), "WavPack"),
        (b"PK\x03\x04" + bytes(99), "a ZIP archive"),
        (bytes(999), "nothing but zeros"),
        (b"words\n" * 99, "text"),
    ],
)
def test_what_it_is_instead_is_said(content: bytes, what: str, tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    path.write_bytes(content)
    with pytest.raises(AudioError) as caught:
        AudioSource(path)
    said = f"{path}: not an audio file that libsndfile reads; it is {what}"
    assert str(caught.value).startswith(said)
