"""`ncodec verify`."""

import io
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from ran import Run
from tones import make_audio

from ncodec.formats.ncx import Reader, Writer

MakeNcx = Callable[..., Path]
GOLDEN = Path(__file__).parent.parent / "golden"


def test_a_line_per_file_on_stdout(make_ncx: MakeNcx, run: Run) -> None:
    good = make_ncx("good.ncx", n_samples=200000).read_bytes()
    make_ncx("none.ncx", n_samples=0)
    Path("short.ncx").write_bytes(good[:-3])
    Path("text.wav").write_bytes(b"RIFF....WAVE")
    ran = run("verify", "good.ncx", "short.ncx", "missing.ncx", "text.wav", "none.ncx", ".")
    assert (ran.code, ran.err) == (1, "")
    lines = ran.out.splitlines()
    assert lines[0] == "good.ncx: ok (3 packets, 0:25.0)"
    assert lines[1].startswith("short.ncx: FAILED: trailer at byte ")
    assert lines[2:] == [
        "missing.ncx: FAILED: No such file or directory",
        "text.wav: FAILED: is audio, not an .ncx file; ncodec encode makes one of it",
        "none.ncx: ok (0 packets, 0:00.0)",
        ".: FAILED: Is a directory",
    ]


def test_whole_files_exit_with_0(make_ncx: MakeNcx, run: Run) -> None:
    make_ncx("song.ncx")
    ran = run("verify", "song.ncx")
    assert (ran.code, ran.out, ran.err) == (0, "song.ncx: ok (1 packet, 0:00.5)\n", "")


def test_stdin(make_ncx: MakeNcx, run: Run) -> None:
    ran = run("verify", "-", stdin=make_ncx().read_bytes())
    assert (ran.code, ran.out) == (0, "standard input: ok (1 packet, 0:00.5)\n")


def test_any_flipped_bit_fails(make_ncx: MakeNcx, run: Run) -> None:
    content = make_ncx().read_bytes()
    for at in range(0, len(content), 7):
        flipped = bytearray(content)
        flipped[at] ^= 1 << at % 8
        Path(f"{at}.ncx").write_bytes(flipped)
    ran = run("verify", *Path().glob("[0-9]*.ncx"))
    assert ran.code == 1
    assert ": ok (" not in ran.out


def test_codes_that_are_not_those_of_the_digest_fail(make_ncx: MakeNcx, run: Run) -> None:
    whole = make_ncx("song.ncx", "--entropy", "packed").read_bytes()
    from ncodec.formats.ncx import Reader, Writer

    with Path("song.ncx").open("rb") as stream, Path("other.ncx").open("wb") as target:
        reader = Reader(stream, "song.ncx")
        writer = Writer(target, reader.header)
        for packet in reader:
            payload = bytes((packet.payload[0] ^ 1,)) + packet.payload[1:]
            writer.write_packet(packet.n_frames, payload, scales=packet.scales)
        assert reader.trailer is not None
        writer.finish(reader.trailer.codes_digest)
    assert len(Path("other.ncx").read_bytes()) == len(whole)
    ran = run("verify", "other.ncx")
    assert ran.code == 1
    assert ran.out.startswith("other.ncx: FAILED: the decoded codes have digest ")


@pytest.mark.parametrize("path", sorted((GOLDEN / "invalid").glob("*.ncx")), ids=lambda p: p.stem)
def test_every_invalid_golden_file_fails(run: Run, path: Path) -> None:
    shutil.copy(path, "file.ncx")
    ran = run("verify", "file.ncx")
    assert ran.code == 1
    assert ran.out.startswith("file.ncx: FAILED: ")
    assert ran.out.count("\n") == 1


def test_the_transformers_codes_are_proved(run: Run) -> None:
    """Damage with good checksums around it, as a decoder that parts from the encoder would make."""
    make_audio("song.wav", 200_000)
    assert run("encode", "-m", "modelled", "song.wav").code == 0
    assert run("verify", "song.ncx").out == "song.ncx: ok (3 packets, 0:25.0)\n"
    reader = Reader(io.BytesIO(Path("song.ncx").read_bytes()))
    packets = list(reader)
    with Path("other.ncx").open("wb") as sink:
        writer = Writer(sink, reader.header)
        for packet in packets:
            payload = packet.payload[:-3] if packet.number == 2 else packet.payload
            writer.write_packet(packet.n_frames, payload, scales=packet.scales)
        assert reader.trailer is not None
        writer.finish(reader.trailer.codes_digest)
    ran = run("verify", "other.ncx")
    assert ran.code == 1
    assert re.fullmatch(
        r"other.ncx: FAILED: the decoded codes have digest .{8}, the trailer says .{8}\n", ran.out
    )
