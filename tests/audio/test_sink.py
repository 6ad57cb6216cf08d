import io
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from audio_files import RATE_HZ, Pipe, libsndfile_reads, noise, posix_only

from ncodec.audio import AudioSink, AudioSource, read, write
from ncodec.audio.stream import ForwardReader
from ncodec.audio.wav import WavHeader, pack_wav_header, read_wav_header
from ncodec.errors import AudioError, UsageError


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


@pytest.mark.quick
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
    header = WavHeader(RATE_HZ, 2, 2, False, n_bytes)
    plain = pack_wav_header(header)
    assert plain[:4] == b"RF64"
    found = read_wav_header(ForwardReader(io.BytesIO(plain), ""))
    assert found == header
    unknown = WavHeader(RATE_HZ, 2, 2, False, None)
    assert len(pack_wav_header(unknown, reserve=True)) == len(pack_wav_header(header, reserve=True))
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
