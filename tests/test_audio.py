import io
import os
import re
import stat
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ncodec import audio, files
from ncodec.audio import AudioSink, AudioSource, Resampler, read, resample, resampled_length, write
from ncodec.errors import AudioError, NcodecError, OutputExists, UsageError

RATE_HZ = 24000
posix_only = pytest.mark.skipif(os.name != "posix", reason="needs FIFOs and file modes")


def noise(n_channels: int, n: int, level: float = 0.2) -> NDArray[np.float32]:
    rng = np.random.default_rng(n_channels * 1000 + n)
    return (level * rng.uniform(-1, 1, (n_channels, n))).astype(np.float32)


class Pipe(io.RawIOBase):
    """A stream that cannot seek and gives at most `most` bytes a time."""

    def __init__(self, content: bytes = b"", most: int = 1 << 30) -> None:
        self.content = io.BytesIO(content)
        self.most = most
        self.largest = 0

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def read(self, size: int = -1, /) -> bytes:
        assert size >= 0, "reads of unknown size are not bounded"
        self.largest = max(self.largest, size)
        return self.content.read(min(size, self.most))

    def write(self, raw: Any, /) -> int:
        return self.content.write(raw)


def wav_bytes(wav: NDArray[np.float32], subtype: str = "PCM_16", container: str = "WAV") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, wav.T, RATE_HZ, subtype=subtype, format=container)
    return file.getvalue()


def on_disk(content: bytes) -> BinaryIO:
    file = tempfile.TemporaryFile()  # noqa: SIM115
    file.write(content)
    file.seek(0)
    return cast("BinaryIO", file)


def libsndfile_reads(content: bytes) -> NDArray[np.float32]:
    return soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)[0].T


# ---------------------------------------------------------------------------------------- reading


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
            assert opened.n_samples == expected.shape[1]
            wav = np.concatenate(list(opened.blocks(777)), axis=1)
        np.testing.assert_allclose(wav, expected, rtol=0, atol=1e-6 if container == "MP3" else 0)


def test_a_flac_that_does_not_know_its_length_is_read_to_its_end() -> None:
    content = bytearray(wav_bytes(noise(1, 48017), container="FLAC"))
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    with AudioSource(Pipe(bytes(content))) as source:
        assert source.n_samples is None
        wav = np.concatenate(list(source.blocks(1000)), axis=1)
    assert source.n_samples == 48017
    np.testing.assert_allclose(wav, noise(1, 48017), atol=1 / 32768)


def test_an_mp3_without_a_count_has_an_unknown_length(tmp_path: Path) -> None:
    path = tmp_path / "song.mp3"
    rate_mode: Any = {"bitrate_mode": "CONSTANT", "compression_level": 0.2}
    soundfile.write(path, noise(1, 30011)[0], RATE_HZ, **rate_mode)
    content = path.read_bytes()
    second = content.find(content[:2], max(content.find(b"Info"), content.find(b"Xing")))
    path.write_bytes(content[second:])
    with AudioSource(path) as source:
        assert source.n_samples is None
        n_read = sum(block.shape[1] for block in source.blocks(5000))
        assert source.n_samples == n_read >= 30011


@pytest.mark.parametrize("container", ["WAV", "FLAC", "OGG", "CAF"])
@pytest.mark.parametrize("make_source", [on_disk, io.BytesIO, Pipe], ids=["file", "memory", "pipe"])
def test_tags_are_read(container: str, make_source: Any) -> None:
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", RATE_HZ, 1, format=container) as made:
        made.title, made.artist, made.album = "Träume", "A", "B"
        made.date, made.tracknumber, made.genre, made.comment = "1999", "7", "Jazz", "odd"
        made.write(noise(1, 2000)[0])
    if container == "WAV":  # libsndfile puts them behind the audio
        file = io.BytesIO()
        tags = {"TITLE": "Träume", "ARTIST": "A", "ALBUM": "B", "DATE": "1999",
                "TRACKNUMBER": "7", "GENRE": "Jazz", "COMMENT": "odd"}  # fmt: skip
        write(file, noise(1, 2000), RATE_HZ, tags=tags)
    with AudioSource(make_source(file.getvalue())) as source:
        assert source.tags == {
            "TITLE": "Träume", "ARTIST": "A", "ALBUM": "B", "DATE": "1999",
            "TRACKNUMBER": "7", "GENRE": "Jazz", "COMMENT": "odd",
        }  # fmt: skip


# ----------------------------------------------------------------------------- what cannot be read


def in_dir(folder: Path, name: str, content: bytes) -> Path:
    (folder / name).write_bytes(content)
    return folder / name


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda d: d / "no.wav", "no.wav: cannot be read: No such file or directory"),
        (lambda d: d, "cannot be read: Is a directory"),
        (lambda d: in_dir(d, "e.wav", b""), "e.wav: is empty"),
        (lambda d: Pipe(b""), "stream: is empty"),
        (lambda d: in_dir(d, "t.wav", b"To be or not to be\n" * 40),
         "t.wav: not an audio file that libsndfile reads: Format not recognised"),
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


# ------------------------------------------------------------------------------------- resampling


@settings(max_examples=60, deadline=None)
@given(
    rates=st.sampled_from([(44100, 24000), (24000, 44100), (8000, 48000), (48000, 8000),
                           (96000, 24000), (22050, 24000), (11025, 16000), (24000, 24000)]),
    n_channels=st.integers(1, 3),
    blocks=st.lists(st.integers(0, 3000), max_size=8),
)  # fmt: skip
def test_resampling_does_not_depend_on_the_blocks(
    rates: tuple[int, int], n_channels: int, blocks: list[int]
) -> None:
    wav = noise(n_channels, sum(blocks))
    resampler = Resampler(*rates, n_channels)
    parts, start = [], 0
    for n in blocks:
        parts.append(resampler.push(wav[:, start : start + n]))
        start += n
    parts.append(resampler.push(wav[:, start:], last=True))
    streamed = np.concatenate(parts, axis=1)
    np.testing.assert_array_equal(streamed, resample(wav, *rates))
    assert streamed.dtype == np.float32
    assert streamed.shape == (n_channels, resampled_length(wav.shape[1], *rates))


def test_the_length_is_rounded_with_halves_up() -> None:
    assert [resampled_length(n, 2, 1) for n in range(6)] == [0, 1, 1, 2, 2, 3]
    assert resampled_length(10**15, 44100, 48000) == 1088435374149660


@pytest.mark.parametrize("n", [0, 1, 2, 3])
@pytest.mark.parametrize("rates", [(8000, 192000), (192000, 8000), (44100, 24000)])
def test_hardly_any_samples_are_resampled(n: int, rates: tuple[int, int]) -> None:
    assert resample(noise(2, n), *rates).shape == (2, resampled_length(n, *rates))


def test_a_tone_keeps_its_place_and_level() -> None:
    def tone(rate: int) -> NDArray[np.float32]:
        return np.sin(2 * np.pi * 1000 * np.arange(rate) / rate).astype(np.float32)[None]

    out = resample(tone(44100), 44100, 24000)
    np.testing.assert_allclose(out[:, 500:-500], tone(24000)[:, 500:-500], atol=1e-5)


def test_what_the_target_rate_cannot_hold_is_removed() -> None:
    high = np.sin(2 * np.pi * 15000 * np.arange(48000) / 48000).astype(np.float32)[None]
    assert np.abs(resample(high, 48000, 24000)[:, 500:-500]).max() < 1e-5


def test_a_wanted_length_cuts_or_pads() -> None:
    wav = noise(1, 1000)
    whole = resample(wav, 48000, 24000)
    np.testing.assert_array_equal(resample(wav, 48000, 24000, n_out=499), whole[:, :499])
    longer = resample(wav, 48000, 24000, n_out=502)
    np.testing.assert_array_equal(longer, np.pad(whole, ((0, 0), (0, 2))))


def test_equal_rates_change_nothing() -> None:
    wav = noise(2, 100)
    np.testing.assert_array_equal(resample(wav, 48000, 48000), wav)


def test_a_resampler_refuses_nonsense() -> None:
    with pytest.raises(UsageError):
        Resampler(0, 24000, 1)
    resampler = Resampler(48000, 24000, 1)
    resampler.push(noise(1, 10), last=True)
    with pytest.raises(ValueError, match="after the last"):
        resampler.push(noise(1, 10))


# ---------------------------------------------------------------------------------------- writing


@pytest.mark.parametrize("suffix", ["wav", "rf64", "flac", "aiff", "aif", "w64", "caf"])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
@pytest.mark.parametrize("n_channels", [1, 2, 5])
def test_integers_survive_writing_and_reading(
    tmp_path: Path, suffix: str, subtype: str, n_channels: int
) -> None:
    n_bits = int(subtype[-2:])
    rng = np.random.default_rng(3)
    levels = rng.integers(-(1 << (n_bits - 1)), 1 << (n_bits - 1), (n_channels, 5001))
    wav = (levels / (1 << (n_bits - 1))).astype(np.float32)
    path = tmp_path / f"song.{suffix}"
    assert write(path, wav, RATE_HZ, subtype=subtype) == 0
    found, rate = read(path)
    assert rate == RATE_HZ
    np.testing.assert_array_equal(found, wav)
    assert soundfile.info(path).subtype == subtype
    stream = Pipe()
    write(stream, wav, RATE_HZ, container=suffix, subtype=subtype)
    np.testing.assert_array_equal(read(io.BytesIO(stream.content.getvalue()))[0], wav)


@pytest.mark.parametrize("suffix", ["ogg", "oga", "opus", "mp3"])
@pytest.mark.parametrize("length", [1, 5, 1153, 100_003])
def test_lossy_files_keep_the_length(tmp_path: Path, suffix: str, length: int) -> None:
    tone = 0.5 * np.sin(np.arange(length) * 0.05)[None].repeat(2, axis=0)
    write(tmp_path / f"song.{suffix}", tone, RATE_HZ)
    wav, rate = read(tmp_path / f"song.{suffix}")
    assert (wav.shape, rate) == (tone.shape, RATE_HZ)
    if length > 10000:
        assert np.sqrt(np.mean((wav - tone) ** 2)) < 0.05


@pytest.mark.parametrize("suffix", ["wav", "flac", "aiff"])
def test_rounding_is_to_the_nearest_and_full_scale_does_not_wrap(
    tmp_path: Path, suffix: str
) -> None:
    step = 1 / 32768
    wav = np.array([[1.0, -1.0, 1.5, -1.5, 0.6 * step, -0.6 * step, 0.4 * step, -0.4 * step,
                     100.7 * step, -100.7 * step, 32767.4 * step]], np.float32)  # fmt: skip
    with AudioSink(tmp_path / f"song.{suffix}", RATE_HZ, 1) as sink:
        sink.write(wav)
    ints = soundfile.read(tmp_path / f"song.{suffix}", dtype="int16")[0].astype(np.int64)
    assert ints.tolist() == [32767, -32768, 32767, -32768, 1, -1, 0, 0, 101, -101, 32767]
    assert (sink.n_clipped, sink.peak, sink.n_written) == (2, 1.5, 11)


@pytest.mark.parametrize(
    ("subtype", "ends"),
    [("PCM_U8", (-128, 127)), ("PCM_32", (-(1 << 31), (1 << 31) - 1))],
)
def test_the_shortest_and_longest_integers(subtype: str, ends: tuple[int, int]) -> None:
    file = io.BytesIO()
    write(file, np.array([[-1.0, 1.0, 0.0]]), RATE_HZ, subtype=subtype)
    file.seek(0)
    ints = soundfile.read(file, dtype="int32")[0].astype(np.int64)
    shift = 24 if subtype == "PCM_U8" else 0
    assert (ints >> shift).tolist() == [*ends, 0]


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_floats_are_not_limited(subtype: str) -> None:
    file = io.BytesIO()
    wav = noise(2, 100, level=3)
    assert write(file, wav, RATE_HZ, subtype=subtype) == 0
    file.seek(0)
    np.testing.assert_array_equal(read(file)[0], wav)
    np.testing.assert_array_equal(libsndfile_reads(file.getvalue()), wav)


def test_a_file_of_no_samples(tmp_path: Path) -> None:
    for suffix in ("wav", "ogg", "aiff", "caf", "w64", "rf64"):
        write(tmp_path / f"none.{suffix}", np.zeros((2, 0)), RATE_HZ)
        assert read(tmp_path / f"none.{suffix}")[0].shape == (2, 0)
    for suffix in ("flac", "opus", "mp3"):
        with pytest.raises(AudioError, match=f"none.{suffix}: libsndfile cannot write 0 samples"):
            write(tmp_path / f"none.{suffix}", np.zeros((2, 0)), RATE_HZ)
        assert not (tmp_path / f"none.{suffix}").exists()


def test_a_wav_stream_announces_its_length_if_it_is_known() -> None:
    wav = noise(1, 501)
    known, unknown = Pipe(), Pipe()
    with AudioSink(known, RATE_HZ, 1, n_samples=501, subtype="PCM_U8") as sink:
        sink.write(wav)
    content = known.content.getvalue()
    assert len(content) == 44 + 502
    assert struct.unpack_from("<I", content, 4) == (len(content) - 8,)
    assert struct.unpack_from("<I", content, 40) == (501,)
    with AudioSink(unknown, RATE_HZ, 1) as sink:
        sink.write(wav[:, :200])
        sink.write(wav[:, 200:])
    content = unknown.content.getvalue()
    assert content[4:8] == content[40:44] == b"\xff" * 4
    for make in (io.BytesIO, Pipe):
        np.testing.assert_allclose(read(make(content))[0], wav, atol=1 / 65536)


def test_a_wav_file_learns_its_length_at_the_end(tmp_path: Path) -> None:
    with AudioSink(tmp_path / "a.wav", RATE_HZ, 2) as sink:
        for _ in range(3):
            sink.write(noise(2, 100))
    with AudioSource(tmp_path / "a.wav") as source:
        assert source.n_samples == 300
    content = (tmp_path / "a.wav").read_bytes()
    assert struct.unpack_from("<I", content, 4) == (len(content) - 8,)
    assert struct.unpack_from("<4sI", content, 12) == (b"JUNK", 28)


def test_a_wav_over_4_gib_becomes_rf64() -> None:
    n_bytes = 5 << 30
    header = files.WavHeader(RATE_HZ, 2, 2, False, n_bytes, {})
    plain = files.pack_wav_header(header)
    assert plain[:4] == b"RF64"
    found = files.read_wav_header(files.ForwardReader(io.BytesIO(plain), ""))
    assert found == header
    unknown = files.WavHeader(RATE_HZ, 2, 2, False, None, {})
    assert len(files.pack_wav_header(unknown, reserve=True)) == len(
        files.pack_wav_header(header, reserve=True)
    )
    with pytest.raises(AudioError, match=f"announces {n_bytes // 4} samples, 0 "):
        read(Pipe(plain))
    with pytest.raises(AudioError, match=f"announces {n_bytes // 4} samples, 0 "):
        read(io.BytesIO(plain + bytes(3)))


def test_the_announced_number_of_samples_must_come(tmp_path: Path) -> None:
    sink = AudioSink(tmp_path / "a.wav", RATE_HZ, 1, n_samples=10)
    sink.write(noise(1, 9))
    with pytest.raises(AudioError, match=r"a\.wav: 10 samples were announced, 9 came"):
        sink.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "caf", "aiff", "w64"])
def test_tags_are_written_where_there_is_a_place(tmp_path: Path, suffix: str) -> None:
    tags = {"TITLE": "Träume", "ARTIST": "Someone", "TRACKNUMBER": "3", "ODD": "x"}
    with AudioSink(tmp_path / f"a.{suffix}", RATE_HZ, 1, tags=tags) as sink:
        sink.write(noise(1, 1000))
    expected = {key: text for key, text in tags.items() if key not in sink.unwritten_tags}
    assert "ODD" in sink.unwritten_tags
    with AudioSource(tmp_path / f"a.{suffix}") as source:
        assert source.tags == expected
    if suffix in ("wav", "flac", "ogg", "caf"):
        assert sink.unwritten_tags == ("ODD",)


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("a.xyz", {}, UsageError, r"a\.xyz: no audio format 'xyz'; there are wav, "),
        ("a.flac", {"subtype": "FLOAT"}, UsageError, "FLAC has no FLOAT; it has .*PCM_16, PCM_24"),
        ("a.ogg", {"subtype": "PCM_16"}, UsageError, "OGG has no PCM_16; it has VORBIS"),
        ("a.opus", {"rate": 44100}, AudioError, "opus has no 44100 Hz; it has 8000, 12000"),
        ("a.mp3", {"rate": 96000}, AudioError, "mp3 has no 96000 Hz; it has 8000, "),
        ("a.mp3", {"n_channels": 3}, AudioError, r"a\.mp3: libsndfile does not write MP3 .* of 3"),
        ("a.wav", {"n_channels": 65}, AudioError, "65 channels, 1 to 64"),
        ("no/a.wav", {}, UsageError, "no: no such directory"),
        (".", {}, UsageError, "is a directory"),
    ],
)
def test_what_cannot_be_written_says_why(
    tmp_path: Path, name: str, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    rate, n_channels = options.pop("rate", RATE_HZ), options.pop("n_channels", 1)
    with pytest.raises(error, match=message):
        AudioSink(tmp_path / name, rate, n_channels, **options)
    assert list(tmp_path.iterdir()) == []


def test_a_value_that_is_no_number_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="not a finite number"):
        write(tmp_path / "a.wav", np.array([[0.0, np.nan]]), RATE_HZ)
    assert list(tmp_path.iterdir()) == []


FULL_DISK = """
import resource, sys, numpy
from ncodec import audio
from ncodec.errors import NcodecError
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
try:
    audio.write(sys.argv[1], numpy.random.default_rng(0).uniform(-.5, .5, (1, 200000)), 24000)
except NcodecError as error:
    print(error)
"""


@posix_only
@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "opus", "mp3", "aiff", "w64"])
def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{path}: ")
    assert list(tmp_path.iterdir()) == []


# ----------------------------------------------------------------------------------- atomic output


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_unfinished_output_is_removed(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"old")
    with pytest.raises(error), AudioSink(path, RATE_HZ, 1, overwrite=True) as sink:  # noqa: PT012
        sink.write(noise(1, 100))
        raise error
    assert [file.name for file in tmp_path.iterdir()] == ["a.wav"]
    assert path.read_bytes() == b"old"


def test_an_output_that_exists_is_kept_unless_asked(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    write(path, noise(1, 10), RATE_HZ)
    with pytest.raises(OutputExists, match=r"a\.wav: exists already"):
        write(path, noise(1, 20), RATE_HZ)
    assert read(path)[0].shape == (1, 10)
    write(path, noise(1, 20), RATE_HZ, overwrite=True)
    assert read(path)[0].shape == (1, 20)


@pytest.mark.parametrize("has_links", [True, False])
def test_an_output_that_appears_meanwhile_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool
) -> None:
    if not has_links:
        monkeypatch.setattr(Path, "hardlink_to", lambda *_: (_ for _ in ()).throw(OSError(1, "no")))
    with files.atomic_output(tmp_path / "first") as partial:
        partial.write_bytes(b"1")
    assert (tmp_path / "first").read_bytes() == b"1"
    path = tmp_path / "a"
    with pytest.raises(OutputExists), files.atomic_output(path) as partial:  # noqa: PT012
        partial.write_bytes(b"mine")
        path.write_bytes(b"theirs")
    assert path.read_bytes() == b"theirs"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a", "first"]


def test_the_partial_file_is_hidden_beside_and_keeps_the_suffix(tmp_path: Path) -> None:
    with files.atomic_output(tmp_path / "a.flac") as partial:
        assert partial.parent == tmp_path
        assert partial.name.startswith(files.PARTIAL_PREFIX)
        assert partial.suffix == ".flac"
        assert not (tmp_path / "a.flac").exists()


@posix_only
def test_permissions_follow_the_umask_or_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    old_mask = os.umask(0o027)
    try:
        with files.atomic_output(path) as partial:
            partial.write_bytes(b"")
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        path.chmod(0o604)
        with files.atomic_output(path, overwrite=True) as partial:
            partial.write_bytes(b"")
        assert stat.S_IMODE(path.stat().st_mode) == 0o604
    finally:
        os.umask(old_mask)


@posix_only
def test_a_link_is_followed(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to(target)
    with files.atomic_output(link, overwrite=True) as partial:
        partial.write_bytes(b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


@posix_only
@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_special_files_are_written_as_they_are(tmp_path: Path, suffix: str) -> None:
    write("/dev/null", noise(1, 100), RATE_HZ, container=suffix)
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    fifo = tmp_path / f"pipe.{suffix}"
    os.mkfifo(fifo)
    writer = threading.Thread(target=write, args=(fifo, noise(2, 50_000), RATE_HZ))
    writer.start()
    wav, _ = read(fifo)
    writer.join()
    np.testing.assert_allclose(wav, noise(2, 50_000), atol=1 / 65536)
    assert stat.S_ISFIFO(fifo.stat().st_mode)


def test_an_error_of_the_block_keeps_its_kind(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), files.atomic_output(tmp_path / "a"):
        (tmp_path / "other").read_bytes()
    with (
        pytest.raises(NcodecError, match="a: cannot be written: full"),
        files.atomic_output(tmp_path / "a"),
    ):
        raise OSError(28, "full")


def test_a_closed_sink_can_be_closed_again(tmp_path: Path) -> None:
    sink = AudioSink(tmp_path / "a.wav", RATE_HZ, 1)
    sink.write(noise(1, 10))
    sink.close()
    sink.close()
    assert read(tmp_path / "a.wav")[0].shape == (1, 10)


@posix_only
def test_a_name_that_is_not_utf_8(tmp_path: Path) -> None:
    for suffix in ("wav", "flac"):
        path = os.fsdecode(os.fsencode(tmp_path) + b"/na\xefve." + suffix.encode())
        write(path, noise(1, 10), RATE_HZ)
        assert read(path)[0].shape == (1, 10)


def test_the_public_names_exist() -> None:
    assert all(hasattr(audio, name) for name in audio.__all__)
