"""Real processes: pipes, signals, terminals' absence."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tones import make_audio, wav_bytes

MakeNcx = Callable[..., Path]
NCODEC = (sys.executable, "-c", "from ncodec.cli.main import main; main(prog_name='ncodec')")
PIPE = subprocess.PIPE


def test_encode_and_decode_in_one_pipe() -> None:
    encoder = subprocess.Popen(
        [*NCODEC, "encode", "-m", "tiny", "-"], stdin=PIPE, stdout=PIPE, stderr=PIPE
    )
    decoder = subprocess.Popen(
        [*NCODEC, "decode", "-"], stdin=encoder.stdout, stdout=PIPE, stderr=PIPE
    )
    assert encoder.stdin is not None
    assert encoder.stdout is not None
    encoder.stdout.close()
    encoder.stdin.write(wav_bytes(100_000))
    encoder.stdin.close()
    wav, said = decoder.communicate(timeout=60)
    assert encoder.wait(10) == decoder.returncode == 0
    assert len(wav) == 44 + 2 * 100_000
    assert wav[:4] == b"RIFF"
    assert said.endswith(b"x real time\n")
    assert said.count(b"\r") == 0  # no progress without a terminal
    assert encoder.stderr is not None
    with encoder.stderr as stderr:
        assert stderr.read().startswith(b"standard input -> standard output: 0:12.5, ")


def test_gapless_of_a_pipe_is_one_track() -> None:
    command = [*NCODEC, "encode", "-q", "-m", "tiny", "--gapless", "-", "-o"]
    ran = subprocess.run([*command, "a.ncx"], input=wav_bytes(9000), capture_output=True)
    assert (ran.returncode, ran.stderr) == (0, b"")
    Path("b.wav").write_bytes(wav_bytes(9000))
    subprocess.run([*NCODEC, "encode", "-q", "-m", "tiny", "b.wav"], check=True)
    assert Path("a.ncx").read_bytes() == Path("b.ncx").read_bytes()


@pytest.mark.parametrize("with_signal", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_encoding_leaves_no_output(with_signal: signal.Signals) -> None:
    process = subprocess.Popen(
        [*NCODEC, "encode", "-m", "tiny", "-", "-o", "song.ncx"], stdin=PIPE, stderr=PIPE
    )
    assert process.stdin is not None
    process.stdin.write(wav_bytes(400_000)[:-200_000])  # more is announced, and never comes
    process.stdin.flush()
    for _ in range(600):
        if any(Path().iterdir()):
            break
        time.sleep(0.05)
    assert [path.name[:8] for path in Path().iterdir()] == [".ncodec-"]
    process.send_signal(with_signal)
    _, said = process.communicate(timeout=30)
    if with_signal is signal.SIGINT:
        assert (process.returncode, said) == (130, b"ncodec: interrupted\n")
        assert not any(Path().iterdir())
    else:
        assert [path.name[:8] for path in Path().iterdir()] == [".ncodec-"]


def test_a_reader_that_goes_away_ends_it_quietly(make_ncx: MakeNcx) -> None:
    make_ncx(n_samples=400_000)
    process = subprocess.Popen([*NCODEC, "decode", "song.ncx", "-o", "-"], stdout=PIPE, stderr=PIPE)
    assert process.stdout is not None
    process.stdout.read(100)
    process.stdout.close()
    assert process.stderr is not None
    with process.stderr as stderr:
        assert stderr.read() == b""
    assert process.wait(30) == 141


def test_text_to_a_reader_that_goes_away(make_ncx: MakeNcx) -> None:
    make_ncx(n_samples=400_000)
    process = subprocess.Popen([*NCODEC, "inspect", "song.ncx"], stdout=PIPE, stderr=PIPE)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    with process.stderr as stderr:
        assert stderr.read() == b""
    assert process.wait(30) == 141


def test_names_that_are_not_utf8_are_shown(make_ncx: MakeNcx) -> None:
    made = make_ncx()
    name = b"h\xe9.ncx"
    shutil.copy(made, os.fsdecode(name))
    ran = subprocess.run([*NCODEC, "verify", name], capture_output=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert ran.stdout == b"h\\udce9.ncx: ok (1 packet, 0:00.5)\n"


def test_a_terminal_gets_no_binary_data(make_ncx: MakeNcx) -> None:
    pty = pytest.importorskip("pty")
    make_audio("song.wav")
    ours, theirs = pty.openpty()
    ran = subprocess.run(
        [*NCODEC, "encode", "-m", "tiny", "song.wav", "-o", "-"],
        stdout=theirs, stderr=PIPE, check=False,
    )  # fmt: skip
    os.close(ours)
    os.close(theirs)
    assert ran.returncode == 2
    assert ran.stderr == (
        b"ncodec: error: standard output is a terminal: redirect it, or name a file with -o\n"
    )


PROGRESS = """
from ncodec.cli.progress import progress_bar
with progress_bar("song.wav", 10.0, quiet=QUIET) as advance:
    advance(5.0)
"""


@pytest.mark.parametrize("quiet", [False, True])
def test_a_terminal_sees_progress_unless_quiet(quiet: bool) -> None:
    pty = pytest.importorskip("pty")
    termios = pytest.importorskip("termios")
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    code = PROGRESS.replace("QUIET", str(quiet))
    subprocess.run([sys.executable, "-c", code], stderr=theirs, check=True)
    os.write(theirs, b".")  # so that there is something to read
    said = os.read(ours, 10_000)
    os.close(ours)
    os.close(theirs)
    assert (b"song.wav:" in said) != quiet
