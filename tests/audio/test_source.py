import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from audio_files import RATE_HZ, Pipe, libsndfile_reads, noise, on_disk, wav_bytes

from ncodec import audio
from ncodec.audio import AudioSource, read, write


@pytest.mark.parametrize("container", ["WAV", "WAVEX", "RF64"])
@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("n_channels", [1, 2, 5])
def test_a_pipe_gives_what_libsndfile_reads(container: str, subtype: str, n_channels: int) -> None:
    content = wav_bytes(noise(n_channels, 1001), subtype, container)
    with AudioSource(Pipe(content, most=701)) as source:
        assert (source.sample_rate_hz, source.n_channels) == (RATE_HZ, n_channels)
        assert source.n_samples == 1001
        blocks = list(source.blocks(300))
    assert [block.shape for block in blocks] == [(n_channels, n) for n in (300, 300, 300, 101)]
    assert all(block.dtype == np.float32 and block.flags.c_contiguous for block in blocks)
    np.testing.assert_array_equal(np.concatenate(blocks, axis=1), libsndfile_reads(content))


@pytest.mark.parametrize("make_source", [on_disk, io.BytesIO, Pipe], ids=["file", "memory", "pipe"])
@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFF000, 0x7FFFFFFF, 0])
def test_a_wav_of_unknown_length_is_read_to_its_end(make_source: Any, size: int) -> None:
    content = bytearray(wav_bytes(noise(1, 77777)))
    content[4:8] = content[40:44] = struct.pack("<I", size)
    with AudioSource(make_source(bytes(content))) as source:
        assert source.n_samples in (None, 77777)
        assert sum(block.shape[1] for block in source.blocks(10000)) == 77777
        assert source.n_samples == 77777


def test_an_rf64_pipe_of_unknown_length_is_read_to_its_end() -> None:
    content = bytearray(wav_bytes(noise(1, 777), container="RF64"))
    assert content[12:16] == b"ds64"
    content[20:36] = b"\xff" * 16
    assert read(Pipe(bytes(content)))[0].shape == (1, 777)


def test_memory_does_not_grow_with_a_pipe() -> None:
    pipe = Pipe(wav_bytes(noise(1, 200_000)))
    with AudioSource(pipe) as source:
        assert sum(block.shape[1] for block in source.blocks(500)) == 200_000
    assert pipe.largest <= 1 << 20


@pytest.mark.parametrize(
    ("container", "subtype"),
    [("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"),
     ("AIFF", "PCM_24"), ("W64", "FLOAT"), ("CAF", "PCM_16"), ("WAV", "ULAW"),
     ("WAV", "IMA_ADPCM")],
)  # fmt: skip
@pytest.mark.parametrize("length", [1, 999, 30011])
def test_other_formats_read_the_same_from_path_stream_and_pipe(
    tmp_path: Path, container: str, subtype: str, length: int
) -> None:
    content = wav_bytes(noise(2, length), subtype, container)
    path = tmp_path / "song"
    path.write_bytes(content)
    expected = libsndfile_reads(content)
    if subtype != "IMA_ADPCM":  # has blocks of a fixed length
        assert expected.shape == (2, length)
    for source in (path, on_disk(content), io.BytesIO(content), Pipe(content, most=5000)):
        with AudioSource(source) as opened:
            # an MP3 may count a frame more or less than it holds
            known = None if container == "MP3" else expected.shape[1]
            assert opened.n_samples == known
            wav = np.concatenate(list(opened.blocks(777)), axis=1)
        np.testing.assert_allclose(wav, expected, rtol=0, atol=1e-6 if container == "MP3" else 0)


@pytest.mark.quick
def test_a_flac_that_does_not_know_its_length_is_read_to_its_end() -> None:
    content = bytearray(wav_bytes(noise(1, 48017), container="FLAC"))
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    with AudioSource(Pipe(bytes(content))) as source:
        assert source.n_samples is None
        wav = np.concatenate(list(source.blocks(1000)), axis=1)
    assert source.n_samples == 48017
    np.testing.assert_allclose(wav, noise(1, 48017), atol=1 / 32768)


@pytest.mark.quick
@pytest.mark.parametrize("container", ["WAV", "FLAC", "OGG", "CAF"])
@pytest.mark.parametrize("make_source", [on_disk, io.BytesIO, Pipe], ids=["file", "memory", "pipe"])
def test_tags_are_read(container: str, make_source: Any) -> None:
    tags = {"TITLE": "Träume", "ARTIST": "A", "ALBUM": "B", "DATE": "1999", "TRACKNUMBER": "7",
            "GENRE": "Jazz", "COMMENT": "odd"}  # fmt: skip
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", RATE_HZ, 1, format=container) as made:
        made.title, made.artist, made.album = "Träume", "A", "B"
        made.date, made.tracknumber, made.genre, made.comment = "1999", "7", "Jazz", "odd"
        made.write(noise(1, 2000)[0])
    if container == "WAV":  # libsndfile puts them behind the audio
        file = io.BytesIO()
        write(file, noise(1, 2000), RATE_HZ, tags=tuple(tags.items()))
    with AudioSource(make_source(file.getvalue())) as source:
        assert dict(source.tags) == tags
        assert len(source.tags) == len(tags)


def test_the_public_names_exist() -> None:
    assert all(hasattr(audio, name) for name in audio.__all__)
