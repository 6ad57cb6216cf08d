"""Live chains of real processes: what goes in comes out before more goes in."""

import io
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from ran import Run

from ncodec.audio import read
from ncodec.audio.wav import WavHeader, pack_wav_header
from ncodec.formats.ncx import Reader

RATE_HZ = 8000
LATENCY_SECONDS = 0.3
HANG_SECONDS = 120.0  # only a hang takes so long
ENCODE = ["encode", "-m", "tiny", "--live", "-", "-o", "-"]
DECODE = ["decode", "-", "-o", "-"]


def start(*args: str, stdin: object = subprocess.PIPE) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "ncodec", *args]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=stdin, stdout=pipe, stderr=pipe)  # type: ignore[call-overload]


class Heard:
    """Reads a stream in a thread, so that a hang is seen."""

    def __init__(self, stream: io.BufferedReader) -> None:
        self.content = b""
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._thread.start()

    def _read(self, stream: io.BufferedReader) -> None:
        while some := stream.read1(1 << 16):
            with self._changed:
                self.content += some
                self._changed.notify()

    def wait(self, n_bytes: int) -> None:
        with self._changed:
            there = self._changed.wait_for(lambda: len(self.content) >= n_bytes, HANG_SECONDS)
        assert there, f"{len(self.content)} bytes came, {n_bytes} should have"

    def rest(self) -> bytes:
        self._thread.join(HANG_SECONDS)
        assert not self._thread.is_alive()
        return self.content


def pcm(seconds: float) -> bytes:
    rng = np.random.default_rng(0)
    noise = np.clip(3000 * rng.standard_normal(round(seconds * RATE_HZ)), -32767, 32767)
    return noise.astype("<i2").tobytes()


def test_all_but_the_latency_comes_out_before_more_goes_in() -> None:
    """Nothing is kept back in a buffer: the next second is sent when the last one was heard."""
    encode = start(*ENCODE)
    assert encode.stdin
    assert encode.stdout
    decode = start(*DECODE, stdin=encode.stdout)
    assert decode.stdout
    encode.stdout.close()
    heard = Heard(decode.stdout)  # type: ignore[arg-type]
    encode.stdin.write(pack_wav_header(WavHeader(RATE_HZ, 1, 2, False, None)))
    audio = pcm(4)
    for second in range(1, 5):
        end = 2 * RATE_HZ * second
        encode.stdin.write(audio[end - 2 * RATE_HZ : end])
        encode.stdin.flush()
        heard.wait(44 + end - 2 * round(LATENCY_SECONDS * RATE_HZ))
    encode.stdin.close()
    wav, rate = read(io.BytesIO(heard.rest()))
    assert (rate, wav.shape) == (RATE_HZ, (1, 4 * RATE_HZ))
    assert encode.wait(HANG_SECONDS) == decode.wait(HANG_SECONDS) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no SIGINT to one process")
def test_an_interrupt_ends_the_stream_as_it_should_end(run: Run) -> None:
    encode = start(*ENCODE)
    assert encode.stdin
    assert encode.stdout
    heard = Heard(encode.stdout)  # type: ignore[arg-type]
    encode.stdin.write(pack_wav_header(WavHeader(RATE_HZ, 1, 2, False, None)) + pcm(2))
    encode.stdin.flush()
    heard.wait(400)  # it is up
    encode.send_signal(signal.SIGINT)
    blob = heard.rest()
    assert encode.wait(HANG_SECONDS) == 0
    reader = Reader(io.BytesIO(blob))
    assert sum(packet.n_frames for packet in reader) > 100
    assert reader.trailer is not None
    assert reader.n_samples is not None
    assert RATE_HZ < reader.n_samples <= 2 * RATE_HZ
    Path("live.ncx").write_bytes(blob)
    assert run("verify", "live.ncx").code == 0
    encode.stdin.close()


def test_a_file_can_be_coded_like_a_live_stream(run: Run, make_ncx: object) -> None:
    Path("song.wav").write_bytes(
        pack_wav_header(WavHeader(RATE_HZ, 1, 2, False, 2 * RATE_HZ * 3)) + pcm(3)
    )
    ran = run("encode", "-m", "tiny", "--live", "--latency", "200", "song.wav")
    assert ran.code == 0
    assert "live: packets of " in ran.err
    assert run("decode", "song.ncx", "-o", "back.wav").code == 0
    assert read("back.wav")[0].shape == (1, 3 * RATE_HZ)
    got = run("decode", "song.ncx", "--start", "1.5", "--end", "1.75", "-o", "part.wav")
    assert got.code == 0, got.err
    part, whole = read("part.wav")[0], read("back.wav")[0]
    assert np.abs(part - whole[:, 12000:14000]).max() <= 1e-4


def test_what_makes_no_sense(run: Run) -> None:
    Path("song.wav").write_bytes(pack_wav_header(WavHeader(RATE_HZ, 1, 2, False, 1600)) + pcm(0.1))
    for args, why in (
        (("--latency", "200"), "--latency is for --live"),
        (("--live", "--to", "ecdc"), ".ecdc files cannot be live"),
        (("-m", "tiny", "--live", "--latency", "1"), "a latency of 1 ms: it takes"),
    ):
        ran = run("encode", *args, "song.wav")
        assert (ran.code, why in ran.err) == (2, True), ran.err
