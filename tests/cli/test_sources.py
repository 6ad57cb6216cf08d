"""`ncodec encode` and `batch` on sources that are damaged, odd or have pictures."""

import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from ran import Run
from tones import make_audio, tone, wav_bytes

import ncodec
from ncodec.audio import write
from ncodec.formats.ncx import Header, Picture, Reader


def header_of(name: str) -> Header:
    with Path(name).open("rb") as stream:
        return Reader(stream).header


def test_pictures_are_kept_unless_they_are_not_wanted(run: Run) -> None:
    picture = Picture(b"\xff\xd8\xff" + bytes(5000), "image/jpeg")
    write("a.flac", np.zeros((1, 8000), np.float32), 8000, pictures=[picture])
    ran = run("encode", "-m", "tiny", "a.flac")
    assert ran.code == 0
    assert "and 5003 bytes of pictures" in ran.err
    assert header_of("a.ncx").pictures == (picture,)
    ran = run("inspect", "a.ncx")
    assert "  picture       front cover, image/jpeg, 5003 bytes\n" in ran.out
    assert ", attached 5" in ran.out
    assert run("decode", "a.ncx", "-o", "b.flac").code == 0
    assert run("decode", "a.ncx", "-o", "b.w64").err.count("without room for 1 picture") == 1
    assert run("encode", "-m", "tiny", "b.flac", "--no-pictures").code == 0
    assert header_of("b.ncx").attachments == ()
    assert run("repack", "a.ncx", "--start", "0.5", "-o", "cut.ncx").code == 0
    assert header_of("cut.ncx").pictures == (picture,)
    assert run("verify", "a.ncx", "cut.ncx").code == 0


def test_conceal(run: Run) -> None:
    make_audio("whole.wav", 80_000)
    content = Path("whole.wav").read_bytes()
    Path("cut.wav").write_bytes(content[:100_000])
    ran = run("encode", "-m", "tiny", "-q", "cut.wav")
    assert (ran.code, Path("cut.ncx").exists()) == (1, False)
    ran = run("encode", "-m", "tiny", "-q", "--conceal", "cut.wav", "whole.wav")
    said = "the header announces 80000 samples, 49978 can be read; silence from 6.25 s on"
    assert (ran.code, ran.err) == (3, f"ncodec: warning: cut.wav: {said}\n")
    assert header_of("cut.ncx").n_samples == header_of("whole.ncx").n_samples == 80_000
    Path("lib").mkdir()
    Path("lib/cut.wav").write_bytes(content[:100_000])
    Path("lib/short.wav").write_bytes(wav_bytes(8000)[:9000])
    ran = run("batch", "-m", "tiny", "-j", "0", "lib", "small")
    assert ran.code == 1
    ran = run("batch", "-m", "tiny", "-j", "0", "lib", "small", "--conceal")
    assert ran.code == 3
    assert "lib/" not in ran.err
    assert f"cut.wav: concealed: {said}" in ran.err
    assert "2 with damage concealed" in ran.err
    assert Path("small/cut.ncx").read_bytes() == Path("cut.ncx").read_bytes()


def with_title_behind(wav: bytes, n_picture: int = 0) -> bytes:
    """Put a LIST chunk, and an id3 chunk with a picture, behind the audio of a WAV."""
    body = wav[12:] + struct.pack("<4sI4s4sI4s", b"LIST", 16, b"INFO", b"INAM", 4, b"Late")
    if n_picture:
        write("of.wav", np.zeros((1, 8), np.float32), 8000, pictures=[Picture(bytes(n_picture))])
        tagged = Path("of.wav").read_bytes()
        at = tagged.index(b"id3 ")
        body += tagged[at : at + 8 + int.from_bytes(tagged[at + 4 : at + 8], "little")]
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body


@pytest.mark.parametrize("kind", [(), ("--live",)])
def test_tags_behind_the_audio_of_a_pipe(run: Run, kind: tuple[str, ...]) -> None:
    content = with_title_behind(wav_bytes(8000), 300)
    Path("a.wav").write_bytes(content)
    assert run("encode", "-m", "tiny", "-q", "a.wav").code == 0
    assert header_of("a.ncx").tags == (("TITLE", "Late"),)
    encode = [sys.executable, "-c", "from ncodec.cli.main import main; main()", "encode", *kind]
    command = [*encode, "-m", "tiny", "-q", "-", "-o", "b.ncx"]
    ran = subprocess.run(command, input=content, capture_output=True, check=True)
    if kind:
        said = "ncodec: warning: b.ncx: without TITLE, pictures\n"
        assert (ran.stderr.decode(), header_of("b.ncx").tags) == (said, ())
        return
    assert ran.stderr == b""
    assert Path("b.ncx").read_bytes() == Path("a.ncx").read_bytes()
    command = [*encode, "-m", "tiny", "-q", "-"]
    ran = subprocess.run(command, input=content, capture_output=True, check=True)
    assert ran.stderr == b"ncodec: warning: standard output: without TITLE, pictures\n"
    Path("c.ncx").write_bytes(ran.stdout)
    assert header_of("c.ncx").tags == ()
    assert header_of("c.ncx").n_samples == 8000


def test_a_live_source_that_breaks_off(run: Run) -> None:
    make_audio("a.wav", 80_000)
    Path("cut.wav").write_bytes(Path("a.wav").read_bytes()[:100_000])
    ran = run("encode", "-m", "tiny", "-q", "--live", "cut.wav", "-o", "cut.ncx")
    assert ran.code == 3
    assert "the header announces 80000 samples, 49978" in ran.err
    assert run("verify", "cut.ncx").code == 0
    assert ncodec.decode(Path("cut.ncx").read_bytes())[0].shape == (1, 49_978)


def test_a_wrong_md5_is_said(run: Run) -> None:
    make_audio("a.flac", 8000)
    content = bytearray(Path("a.flac").read_bytes())
    content[30] ^= 1
    Path("a.flac").write_bytes(content)
    ran = run("encode", "-m", "tiny", "-q", "a.flac")
    said = "its audio is not what its MD5 was made of: damaged or edited"
    assert (ran.code, ran.err) == (0, f"ncodec: warning: a.flac: {said}\n")


def test_decoders_say_nothing_by_themselves(cache: Path) -> None:
    rng = np.random.default_rng(0)
    soundfile.write("a.mp3", 0.2 * rng.uniform(-1, 1, 200_000), 24_000)
    content = Path("a.mp3").read_bytes()
    half = len(content) // 2
    Path("junk.mp3").write_bytes(content[:half] + bytes(500) + b"junk" * 100 + content[half:])
    Path("joined.mp3").write_bytes(content + content)
    args = ["encode", "-m", "tiny", "-q", "junk.mp3", "joined.mp3"]
    code = f"from ncodec.cli.main import main; main({args})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    lines = done.stderr.splitlines()
    assert lines
    assert all(
        line.startswith("ncodec: warning: junk.mp3: libmpg123 went past damage: ") for line in lines
    )
    assert any("Skipped 900 bytes" in line for line in lines)


@pytest.mark.parametrize("name", ["a.m4a", "b.mp3"])
def test_what_needs_the_extra_says_so(name: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from ncodec.audio import ffmpeg

    monkeypatch.setattr(ffmpeg, "is_there", lambda: False)
    Path(name).write_bytes(b"\0\0\0\x20ftypM4A " + bytes(90))
    ran = run("encode", "-m", "tiny", name)
    said = f"{name}: not an audio file that libsndfile reads; it is MPEG-4 (m4a, mp4): "
    said += "pip install 'ncodec[ffmpeg]' reads it"
    assert (ran.code, ran.err) == (1, f"ncodec: error: {said}\n")


@pytest.mark.parametrize(
    ("raw_format", "scale", "kind"),
    [
        ("u8", 127, "u1"), ("s16le", 2**15, "<i2"), ("s32le", 2**31, "<i4"), ("f32le", 1, "<f4"),
        ("f64le", 1, "<f8"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("piped", [True, False])
def test_raw_samples(raw_format: str, scale: float, kind: str, piped: bool, run: Run) -> None:
    wav = tone(4000, 2)
    offset = 128 if raw_format == "u8" else 0
    content = (np.clip(wav * scale, -scale, scale - 1e-9) + offset).astype(kind).tobytes()
    Path("a.raw").write_bytes(content)
    options = ("--raw-format", raw_format, "--raw-rate", "8000", "--raw-channels", "2")
    where = ("-", "-o", "a.ncx") if piped else ("a.raw",)
    ran = run("encode", "-m", "tiny", "-q", *where, *options, stdin=content)
    assert (ran.code, ran.err) == (0, "")
    header = header_of("a.ncx")
    assert (header.n_samples, header.n_channels, header.source_sample_rate_hz) == (4000, 2, 8000)
    soundfile.write("a.wav", np.frombuffer(content, kind).reshape(-1, 2) if scale == 1 else (
        (np.frombuffer(content, kind).reshape(-1, 2).astype(float) - offset)
        / (128 if raw_format == "u8" else scale)), 8000, "DOUBLE")  # fmt: skip
    assert run("encode", "-m", "tiny", "-q", "a.wav", "-o", "b.ncx").code == 0
    assert Path("a.ncx").read_bytes() == Path("b.ncx").read_bytes()


def test_raw_samples_that_are_not_whole(run: Run) -> None:
    options = ("--raw-format", "s16le", "--raw-rate", "8000", "--raw-channels", "2")
    ran = run("encode", "-m", "tiny", "-q", "-", "-o", "a.ncx", *options, stdin=bytes(4003))
    said = "stream: its last 3 bytes are no whole sample of all channels"
    assert (ran.code, ran.err) == (0, f"ncodec: warning: {said}\n")
    assert header_of("a.ncx").n_samples == 1000


@pytest.mark.parametrize(
    "options",
    [("--raw-rate", "8000"), ("--raw-format", "s16le"), ("--raw-channels", "2")],
)
def test_raw_samples_need_both(options: tuple[str, str], run: Run) -> None:
    ran = run("encode", "-m", "tiny", "-", *options, stdin=bytes(100))
    said = "raw samples need --raw-format and --raw-rate"
    assert (ran.code, ran.err) == (2, f"ncodec: error: {said}\n")
