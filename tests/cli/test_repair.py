"""`ncodec repair`."""

import os
import re
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from ran import Run

from ncodec.formats.ncx import Reader

MakeNcx = Callable[..., Path]


def places(name: str) -> list[tuple[int, int]]:
    with Path(name).open("rb") as stream:
        return [(packet.offset, packet.offset + packet.n_bytes) for packet in Reader(stream)]


def spoil(name: str, *offsets: int) -> None:
    spoilt = bytearray(Path(name).read_bytes())
    for offset in offsets:
        spoilt[offset] ^= 0x42
    Path(name).write_bytes(spoilt)


def heard(run: Run, name: str, *options: str, code: int = 0) -> np.ndarray:
    ran = run("decode", "-q", "-f", "--subtype", "FLOAT", name, "-o", "heard.wav", *options)
    assert ran.code == code, ran.err
    return soundfile.read("heard.wav", dtype="float32", always_2d=True)[0]


@pytest.fixture
def song(make_ncx: MakeNcx) -> Path:
    """Four packets of 10 s."""
    return make_ncx(n_samples=320_000, n_channels=2, title="Hum")


def test_a_lost_packet(song: Path, run: Run) -> None:
    spoil("song.ncx", places("song.ncx")[1][0] + 20)
    ran = run("repair", "song.ncx")
    assert ran.code == 0
    assert re.fullmatch(
        r"ncodec: warning: song.ncx: packet 1 at byte \d+: packet_crc is .*: 10.0 s of "
        r"silence from 0:10.0\n"
        r"song.ncx -> song.repaired.ncx: 3 packets, 0:40.0\n",
        ran.err,
    )
    assert run("verify", "song.repaired.ncx").code == 0
    assert (heard(run, "song.repaired.ncx") == heard(run, "song.ncx", "--conceal", code=3)).all()
    assert run("repair", "song.ncx").err == (
        "ncodec: error: song.repaired.ncx: exists already; -f replaces it\n"
    )
    assert run("repair", "-fq", "song.ncx").err.count("\n") == 1


def test_a_truncated_file(song: Path, run: Run) -> None:
    whole = song.read_bytes()
    end = places("song.ncx")[2][1]
    song.write_bytes(whole[: end + 7])
    ran = run("repair", "song.ncx", "-o", "new.ncx")
    assert ran.code == 0
    assert re.fullmatch(
        rf"ncodec: warning: song.ncx: packet 3 at byte {end}: .*: 10.0 s cut off at 0:30.0\n"
        r"song.ncx -> new.ncx: 3 packets, 0:30.0\n",
        ran.err,
    )
    assert run("verify", "new.ncx").code == 0
    found, wanted = heard(run, "new.ncx"), heard(run, "song.ncx", "--conceal", code=3)
    assert (found == wanted[: len(found)]).all()
    assert not wanted[len(found) :].any()


def test_a_file_that_is_whole(song: Path, run: Run) -> None:
    ran = run("repair", "song.ncx")
    assert (ran.code, ran.err) == (0, "song.ncx: nothing is wrong with it\n")
    assert [path.name for path in Path().iterdir()] == ["song.ncx"]
    ran = run("repair", "song.ncx", "-o", "copy.ncx")
    assert (ran.code, ran.err) == (
        0, "song.ncx -> copy.ncx: nothing is wrong with it, copied\n"
    )  # fmt: skip
    assert Path("copy.ncx").read_bytes() == song.read_bytes()
    ran = run("repair", "-", stdin=song.read_bytes())
    assert (ran.code, ran.raw) == (0, song.read_bytes())


def test_a_byte_of_the_header(song: Path, run: Run) -> None:
    whole = song.read_bytes()
    spoil("song.ncx", 15)
    ran = run("repair", "song.ncx")
    assert ran.code == 0
    assert ran.err.startswith(
        f"ncodec: warning: song.ncx: header: byte 15 is {whole[15] ^ 0x42:02X}, but was "
        f"{whole[15]:02X}\n"
    )
    assert Path("song.repaired.ncx").read_bytes() == whole
    ran = run("decode", "--conceal", "song.ncx")
    assert (ran.code, ran.err.count("header: byte 15")) == (3, 1)


def test_all_kinds_at_once(song: Path, run: Run) -> None:
    where = places("song.ncx")
    spoil("song.ncx", 15, where[0][0] + 9, where[3][0] + 9, song.stat().st_size - 9)
    ran = run("repair", "song.ncx")
    assert ran.code == 0
    lines = ran.err.splitlines()
    assert ["header: byte 15" in lines[0], "0:00.0" in lines[1], "cut off" in lines[2]] == [
        True
    ] * 3
    assert lines[3] == "song.ncx -> song.repaired.ncx: 2 packets, 0:30.0"
    assert len(lines) == 4


def test_nothing_to_save(song: Path, run: Run) -> None:
    spoil("song.ncx", *(offset + 9 for offset, _ in places("song.ncx")))
    ran = run("repair", "song.ncx")
    assert (ran.code, ran.err) == (
        1,
        "ncodec: error: song.ncx: nothing can be saved: no packet is whole, or none by itself\n",
    )
    assert [path.name for path in Path().iterdir()] == ["song.ncx"]
    Path("noise.ncx").write_bytes(bytes(1000))
    assert run("repair", "noise.ncx").code == 1
    Path("song.wav").write_bytes(b"RIFF")
    assert "is audio, not an .ncx file" in run("repair", "song.wav").err


def test_several_files(song: Path, run: Run) -> None:
    Path("bad.ncx").write_bytes(song.read_bytes()[:-3])
    ran = run("repair", "song.ncx", "none.ncx", "bad.ncx", "-o", "new/")
    assert ran.code == 1
    assert ran.err.count("ncodec: error: none.ncx: no such file\n") == 1
    assert Path("new/bad.repaired.ncx").read_bytes() == song.read_bytes()


def test_pipes(song: Path, run: Run) -> None:
    whole = song.read_bytes()
    ran = run("repair", "-", "-o", "-", stdin=whole[:-9])
    assert (ran.code, ran.raw) == (0, whole)
    assert ran.err.startswith("ncodec: warning: standard input: ")
    os.mkfifo("pipe")
    writer = threading.Thread(target=lambda: Path("pipe").write_bytes(whole[:-9]))
    writer.start()
    ran = run("repair", "pipe", "-o", "new.ncx")
    writer.join()
    assert ran.code == 0, ran.err
    assert Path("new.ncx").read_bytes() == whole
