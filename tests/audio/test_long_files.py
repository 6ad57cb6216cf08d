"""Audio of 4 GiB and more, and sizes in headers that are not true.

The long files are sparse: they take no room on the disk, but time to be read. A sample of all their
channels has 512 bytes, so that they have few.
"""

import io
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
from audio_files import (
    RATE_HZ,
    Pipe,
    in_dir,
    libsndfile_reads,
    noise,
    on_disk,
    posix_only,
    wav_bytes,
)

from ncodec.audio import AudioSink, AudioSource, read, sink
from ncodec.audio.stream import ForwardReader
from ncodec.audio.wav import WavHeader, pack_wav_header, read_wav_header
from ncodec.audio.writers import WavWriter
from ncodec.errors import AudioError

N_CHANNELS = 64
FRAME_BYTES = 8 * N_CHANNELS
BORDER = (1 << 32) // FRAME_BYTES  # first sample behind 4 GiB of audio
N_SAMPLES = BORDER + 1000
N_BYTES = N_SAMPLES * FRAME_BYTES
PLACES = (0, 3, BORDER - 1, BORDER, BORDER + 1, N_SAMPLES - 1)  # of what is not silent
ALL_ONES = 0xFFFFFFFF
FORMAT = struct.pack(
    "<4sIHHIIHH", b"fmt ", 16, 3, N_CHANNELS, 192000, 192000 * FRAME_BYTES, FRAME_BYTES, 64
)
RIFF_BYTES = 4 + 36 + len(FORMAT) + 8 + N_BYTES  # of RF64


def riff(riff_bytes: int, data_bytes: int) -> bytes:
    sizes = [size & ALL_ONES for size in (riff_bytes, data_bytes)]
    return struct.pack("<4sI4s24s4sI", b"RIFF", sizes[0], b"WAVE", FORMAT, b"data", sizes[1])


def rf64(magic: bytes) -> bytes:
    sizes = struct.pack("<4sIQQQI", b"ds64", 28, RIFF_BYTES, N_BYTES, N_SAMPLES, 0)
    return struct.pack("<4sI4s36s24s4sI", magic, ALL_ONES, b"WAVE", sizes, FORMAT, b"data",
                       ALL_ONES)  # fmt: skip


def w64() -> bytes:
    rest = bytes.fromhex("f3acd3118cd100c04f8edb8a")
    riff_id = b"riff" + bytes.fromhex("2e91cf11a5d628db04c10000")
    ids = [name + rest for name in (b"wave", b"fmt ", b"data")]
    return struct.pack("<16sQ16s16sQ16s16sQ", riff_id, 104 + N_BYTES, ids[0], ids[1], 40,
                       FORMAT[8:], ids[2], 24 + N_BYTES)  # fmt: skip


HEADERS = {
    "RF64": rf64(b"RF64"),
    "BW64": rf64(b"BW64"),
    "W64": w64(),
    "ones": riff(ALL_ONES, ALL_ONES),
    "zeros": riff(0, 0),
    "sox": riff(0x7FFFF000 + 36, 0x7FFFF000),
    "wrapped": riff(N_BYTES + 36, N_BYTES),
}
LENGTH_KNOWN = ("RF64", "BW64", "W64", "wrapped")


def frame(place: int) -> np.ndarray:
    """Return what stands at one of PLACES, [C]."""
    return (1 + PLACES.index(place) + np.arange(N_CHANNELS) / N_CHANNELS) / 8


def long_file(folder: Path, header: bytes, n_bytes: int = N_BYTES, end: bytes = b"") -> Path:
    """Write `n_bytes` of samples behind a header, and what stands behind them."""
    path = folder / "long"
    with path.open("wb") as file:
        file.write(header)
        for place in PLACES:
            if (place + 1) * FRAME_BYTES <= n_bytes:
                file.seek(len(header) + place * FRAME_BYTES)
                file.write(frame(place).astype("<f8").tobytes())
        file.truncate(len(header) + n_bytes)
        file.seek(0, io.SEEK_END)
        file.write(end)
    return path


@pytest.mark.parametrize("kind", HEADERS)
def test_the_length_of_a_long_file_is_known_or_left_open(tmp_path: Path, kind: str) -> None:
    expected = N_SAMPLES if kind in LENGTH_KNOWN else None
    with AudioSource(long_file(tmp_path, HEADERS[kind])) as source:
        assert (source.n_channels, source.sample_rate_hz) == (N_CHANNELS, 192000)
        assert source.n_samples == expected


@pytest.mark.parametrize("kind", ["RF64", "BW64", "ones", "zeros", "sox"])
def test_the_length_of_a_long_pipe_is_known_or_left_open(kind: str) -> None:
    with AudioSource(Pipe(HEADERS[kind])) as source:
        assert source.n_samples == (N_SAMPLES if kind in LENGTH_KNOWN else None)


@pytest.mark.parametrize("kind", ["RF64", "BW64", "W64"])
def test_a_long_file_that_is_cut_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    path = long_file(tmp_path, HEADERS[kind], N_BYTES - 1)
    message = f"long: truncated: the header announces {N_SAMPLES} samples, {N_SAMPLES - 1} are"
    with pytest.raises(AudioError, match=message):
        AudioSource(path)
    with AudioSource(path, allow_truncated=True) as source:
        assert source.n_samples == N_SAMPLES - 1


@pytest.mark.parametrize("kind", LENGTH_KNOWN)
def test_tags_behind_a_long_file_are_no_audio(tmp_path: Path, kind: str) -> None:
    path = long_file(tmp_path, HEADERS[kind], end=b"LIST\x04\0\0\0INFO")
    with AudioSource(path) as source:
        assert source.n_samples == N_SAMPLES


@pytest.mark.parametrize("data_bytes", [0x7FFFF000, 0x7FFFFE00])
def test_a_length_that_looks_unknown_but_fits_the_file_is_true(
    tmp_path: Path, data_bytes: int
) -> None:
    end = b"LIST\x04\0\0\0INFO"
    header = riff(36 + data_bytes + len(end), data_bytes)
    with AudioSource(long_file(tmp_path, header, data_bytes, end)) as source:
        assert source.n_samples == data_bytes // FRAME_BYTES


def check_long(source: Any) -> None:
    """Read a long file or pipe and compare it with what `long_file` wrote."""
    found: dict[int, np.ndarray] = {}
    n_read = 0
    with AudioSource(source) as opened:
        for block in opened.blocks(1 << 14):
            found |= {n_read + int(at): block[:, at] for at in np.flatnonzero(block[0])}
            n_read += block.shape[1]
        assert opened.n_samples == n_read == N_SAMPLES
    assert tuple(found) == PLACES
    for place, values in found.items():
        np.testing.assert_array_equal(values, frame(place))


@pytest.mark.slow
@pytest.mark.parametrize("kind", HEADERS)
def test_a_long_file_is_read_to_its_end(tmp_path: Path, kind: str) -> None:
    check_long(long_file(tmp_path, HEADERS[kind]))


@pytest.mark.slow
@posix_only
@pytest.mark.parametrize("kind", ["RF64", "ones", "zeros", "sox"])
def test_a_long_pipe_is_read_to_its_end(tmp_path: Path, kind: str) -> None:
    path = long_file(tmp_path, HEADERS[kind])
    with subprocess.Popen(["cat", path], stdout=subprocess.PIPE) as cat:
        check_long(cat.stdout)
    assert cat.returncode == 0


class Sparse:
    """Leaves a hole in a file in place of zeros, as far as a writer of WAV needs it."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.seek = file.seek

    def write(self, raw: bytes) -> None:
        if len(raw) > 4096 and raw == bytes(len(raw)):
            self.file.seek(len(raw), io.SEEK_CUR)
        else:
            self.file.write(raw)

    def flush(self) -> None:
        self.file.seek(0, io.SEEK_END)
        self.file.flush()


@pytest.mark.slow
def test_a_wav_that_grows_past_4_gib_becomes_rf64(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sparse(file: BinaryIO, header: WavHeader, **options: bool) -> WavWriter:
        return WavWriter(Sparse(file), header, **options)

    monkeypatch.setattr(sink, "WavWriter", sparse)
    path = tmp_path / "a.wav"
    n_block = 1 << 14
    loud = np.full((N_CHANNELS, 1000), 0.25, np.float32)
    with AudioSink(path, 192000, N_CHANNELS, subtype="DOUBLE") as writing:
        for _ in range(BORDER // n_block):
            writing.write(np.zeros((N_CHANNELS, n_block), np.float32))
        writing.write(loud)
    with path.open("rb") as file:
        assert file.read(4) == b"RF64"
        file.seek(-loud.size * 8, io.SEEK_END)
        assert (np.frombuffer(file.read(), "<f8") == 0.25).all()
    with AudioSource(path) as source:
        assert source.n_samples == writing.n_written == N_SAMPLES


@pytest.mark.parametrize("n_channels", [1, 2])
def test_a_wav_is_rf64_from_the_first_length_that_needs_it(n_channels: int) -> None:
    first = 0xFFFFF000 - 36  # the header has 44 bytes, of which the size leaves out 8
    magics = []
    for data_bytes in (first - 2 * n_channels, first, first + 2 * n_channels):
        header = WavHeader(RATE_HZ, n_channels, 2, False, data_bytes // n_channels * n_channels)
        packed = pack_wav_header(header)
        assert read_wav_header(ForwardReader(io.BytesIO(packed), "")) == header
        magics.append(packed[:4])
    assert magics == [b"RIFF", b"RF64", b"RF64"]


def test_a_long_wav_stream_announces_its_length() -> None:
    pipe = Pipe()
    with pytest.raises(KeyboardInterrupt), AudioSink(
        pipe, 192000, N_CHANNELS, n_samples=N_SAMPLES, subtype="DOUBLE"
    ):  # fmt: skip
        raise KeyboardInterrupt
    with AudioSource(Pipe(pipe.content.getvalue())) as source:
        assert source.n_samples == N_SAMPLES


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_a_bw64_file_gives_what_libsndfile_reads_of_rf64(tmp_path: Path, subtype: str) -> None:
    content = wav_bytes(noise(3, 1001), subtype, "RF64")
    bw64 = content.replace(b"RF64", b"BW64", 1) + b"axml\x02\0\0\0<>"
    for made in (in_dir(tmp_path, "a.wav", bw64), on_disk(bw64), Pipe(bw64)):
        with AudioSource(made) as source:
            assert source.n_samples == 1001
            wav = np.concatenate(list(source.blocks(300)), axis=1)
        np.testing.assert_array_equal(wav, libsndfile_reads(content))


def test_a_bw64_file_that_is_cut_is_refused_unless_allowed() -> None:
    content = wav_bytes(noise(2, 1001), container="RF64").replace(b"RF64", b"BW64", 1)[:-5]
    with pytest.raises(AudioError, match="announces 1001 samples, 999 are there"):
        AudioSource(on_disk(content))
    with AudioSource(on_disk(content), allow_truncated=True) as source:
        assert sum(block.shape[1] for block in source.blocks(100)) == 999
    assert source.truncated_at == 999


@pytest.mark.parametrize("make_source", [on_disk, io.BytesIO, Pipe], ids=["file", "memory", "pipe"])
@pytest.mark.parametrize("container", ["RF64", "BW64", "W64"])
@pytest.mark.parametrize("size", [0, (1 << 63) - 1, (1 << 64) - 1])
def test_an_unfinished_file_of_64_bits_is_read_to_its_end(
    make_source: Callable[[bytes], Any], container: str, size: int
) -> None:
    content = bytearray(wav_bytes(noise(1, 777), container=container.replace("BW", "RF")))
    content[:2] = container[:2].encode() if container != "W64" else b"ri"
    of_w64 = (16, content.index(b"data") + 16)
    for place in of_w64 if container == "W64" else (20, 28, 36):  # of ds64
        struct.pack_into("<Q", content, place, size)
    wav, _ = read(make_source(bytes(content)))
    np.testing.assert_allclose(wav, noise(1, 777), rtol=0, atol=1 / 32768)


FULL_TEMPORARY_FOLDER = """
import resource, sys
from ncodec.audio import AudioSource
from ncodec.errors import NcodecError
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
try:
    AudioSource(sys.stdin.buffer)
except NcodecError as error:
    print(type(error).__name__, error)
"""


@posix_only
@pytest.mark.parametrize("container", ["W64", "FLAC", "MP3"])
@pytest.mark.parametrize("room_bytes", [100, 20_000, 60_000])
def test_a_full_temporary_folder_is_an_error_that_names_it(
    tmp_path: Path, container: str, room_bytes: int
) -> None:
    subtype = "MPEG_LAYER_III" if container == "MP3" else "PCM_16"
    content = wav_bytes(noise(1, 600_000), subtype, container)
    assert len(content) > 70_000
    done = subprocess.run(
        [sys.executable, "-c", FULL_TEMPORARY_FOLDER, str(room_bytes)], input=content,
        capture_output=True, check=True, env={**os.environ, "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert done.stdout.decode() == (
        f"AudioError standard input: cannot be copied to the temporary folder {tmp_path}: "
        "File too large\n"
    )
    assert list(tmp_path.iterdir()) == []
