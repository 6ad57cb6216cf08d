"""`ncodec encode` and `batch` on sources that are damaged, odd or have pictures."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from ran import Run
from tones import make_audio, wav_bytes

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
