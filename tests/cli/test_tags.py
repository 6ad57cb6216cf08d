"""`ncodec tags`."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ran import Run
from test_docs_cli import documented_keys, keys

from ncodec.cli.tags import TAGS_SCHEMA, Change
from ncodec.formats.ncx import CodesDigest, Header, Picture, Reader, Tags, Writer

ODD = (
    ("TITLE", "Prélude №1"),
    ("COMMENT", "two\nlines\r\nand a tab\t"),
    ("back\\slash", "C:\\new\\x41"),
    ("#", "=a=b"),
    (" key ", " spaces "),
    ("ESC", "\x1b[31m\0\x7f\u2028\u200d\U000e0001"),
    ("EMPTY", ""),
)
EXPECTED = "expected at least one character of 0x20 to 0x7D, without '='"


def write_ncx(name: str, tags: Tags = (), extensions: tuple[tuple[int, bytes], ...] = ()) -> Path:
    header = Header(
        architecture=1, model_id="none", model_fingerprint=b"abcd", sample_rate_hz=24000,
        n_channels=1, codebook_size=16, n_codebooks=2, samples_per_frame=320, n_samples=3200,
        tags=tags, extensions=extensions,
    )  # fmt: skip
    with Path(name).open("wb") as stream:
        writer = Writer(stream, header)
        for number in range(3):
            writer.write_packet(4, bytes((number,)) * 40)
        writer.finish(CodesDigest().digest())
    return Path(name)


def tags_of(path: str | Path) -> Tags:
    with Path(path).open("rb") as stream:
        return Reader(stream).header.tags


def names(folder: str) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def test_printing(run: Run) -> None:
    write_ncx("song.ncx", (("TITLE", "Hum"), ("artist", "a"), ("ARTIST", "b")))
    ran = run("tags", "song.ncx")
    assert (ran.code, ran.out, ran.err) == (0, "TITLE=Hum\nartist=a\nARTIST=b\n", "")
    write_ncx("plain.ncx")
    assert run("tags", "plain.ncx").raw == b""
    ran = run("tags", "-", stdin=Path("song.ncx").read_bytes())
    assert ran.out == "TITLE=Hum\nartist=a\nARTIST=b\n"


def test_several_files(run: Run) -> None:
    write_ncx("a.ncx", (("TITLE", "Hum"),))
    write_ncx("b\n.ncx")
    write_ncx("c.ncx", (("DATE", "1899"),))
    ran = run("tags", "a.ncx", "missing.ncx", "b\n.ncx", "c.ncx")
    assert ran.code == 1
    assert ran.out == ("==> a.ncx <==\nTITLE=Hum\n\n==> b\\n.ncx <==\n\n==> c.ncx <==\nDATE=1899\n")
    assert ran.err == "ncodec: error: missing.ncx: No such file or directory\n"


def test_json(run: Run) -> None:
    write_ncx("a.ncx", ODD)
    write_ncx("b.ncx")
    ran = run("tags", "--json", "a.ncx", "missing.ncx", "b.ncx")
    assert ran.code == 1
    told = json.loads(ran.out)
    listed = [{"key": key, "value": value} for key, value in ODD]
    files = [{"file": "a.ncx", "tags": listed}, {"file": "b.ncx", "tags": []}]
    assert told == {"schema": TAGS_SCHEMA, "files": files}
    assert keys(told) == documented_keys(f"JSON of tags, schema {TAGS_SCHEMA}")


def test_what_is_printed_can_be_read(run: Run) -> None:
    write_ncx("a.ncx", ODD)
    write_ncx("b.ncx", (("OLD", "x"),))
    printed = run("tags", "a.ncx")
    assert len(printed.out.splitlines()) == len(ODD)
    assert "\x1b" not in printed.out
    ran = run("tags", "--clear", "--from", "-", "b.ncx", stdin=printed.raw)
    assert (ran.code, ran.err) == (0, "")
    assert tags_of("b.ncx") == ODD
    assert Path("b.ncx").read_bytes() == Path("a.ncx").read_bytes()


TAG_KEYS = st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0x7D, exclude_characters="="), min_size=1
)
VALUES = st.text(st.characters(exclude_categories=["Cs"])) | st.text("\\nrtxuU0 \n\r\0=41")


@given(st.lists(st.tuples(TAG_KEYS, VALUES), min_size=1, max_size=5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_tags_can_be_printed_and_read(run: Run, tags: list[tuple[str, str]]) -> None:
    write_ncx("a.ncx", tuple(tags))
    write_ncx("b.ncx")
    assert run("tags", "--from", "-", "b.ncx", stdin=run("tags", "a.ncx").raw).code == 0
    assert tags_of("b.ncx") == tuple(tags)


def test_lists_of_other_programs(run: Run) -> None:
    write_ncx("a.ncx", (("A", "1"),))
    Path("list").write_bytes("\ufeffTITLE=Hüm\r\n\r\nB=\\u00e9\\t\r\nC=".encode())
    assert run("tags", "--from", "list", "a.ncx").code == 0
    assert tags_of("a.ncx") == (("A", "1"), ("TITLE", "Hüm"), ("B", "é\t"), ("C", ""))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--clear"], ""),
        (["--remove", "artist"], "TITLE=Hum DATE=1899"),
        (["--remove", "NONE"], "TITLE=Hum ARTIST=a DATE=1899 Artist=b"),
        (["--remove", "artist", "--remove", "DATE"], "TITLE=Hum"),
        (["--set", "artist=c"], "TITLE=Hum artist=c DATE=1899"),
        (["--set", "artist=c", "--set", "ARTIST=d"], "TITLE=Hum artist=c ARTIST=d DATE=1899"),
        (["--set", "NEW=c", "--set", "date="], "TITLE=Hum ARTIST=a date= Artist=b NEW=c"),
        (["--add", "title=\\n"], "TITLE=Hum ARTIST=a DATE=1899 Artist=b title=\\n"),
        (["--add", "X=1=2", "--clear"], "X=1=2"),
        (["--add", "X=4", "--set", "X=1", "--clear", "--from", "list"], "X=1 X=2 Y=3 X=4"),
        (["--add", "ARTIST=z", "--remove", "ARTIST"], "TITLE=Hum DATE=1899 ARTIST=z"),
        (["--remove", "ARTIST", "--set", "ARTIST=z"], "TITLE=Hum DATE=1899 ARTIST=z"),
    ],
)
def test_changes(run: Run, options: list[str], expected: str) -> None:
    Path("list").write_text("X=2\nY=3\n")
    write_ncx("a.ncx", (("TITLE", "Hum"), ("ARTIST", "a"), ("DATE", "1899"), ("Artist", "b")))
    ran = run("tags", *options, "a.ncx")
    assert (ran.code, ran.raw, ran.err) == (0, b"", "")
    assert tags_of("a.ncx") == tuple(tuple(part.split("=", 1)) for part in expected.split())


@given(st.lists(st.tuples(st.sampled_from("aAbBcd"), st.text("123", max_size=1)), max_size=8))
def test_a_change_keeps_the_order_of_the_others(tags: list[tuple[str, str]]) -> None:
    changed = Change(False, ("b",), (("A", "new"), ("D", "new")), ())(tuple(tags))
    others = [tag for tag in tags if tag[0] == "c"]
    assert [tag for tag in changed if tag[0] == "c"] == others
    assert [key for key, _ in changed].count("A") == 1
    assert not {"a", "b", "B", "d"} & {key for key, _ in changed}


def test_nothing_else_changes(run: Run) -> None:
    extensions = ((0x42, b"kept"), (1, b""), (0x81, b"too"))
    path = write_ncx("a.ncx", (("TITLE", "Hum"),), extensions)
    path.chmod(0o640)
    assert run("tags", "--set", "TITLE=Hymn", "--add", "X=y", path).code == 0
    assert path.stat().st_mode & 0o777 == 0o640
    other = write_ncx("b.ncx", (("TITLE", "Hymn"), ("X", "y")), extensions)
    assert path.read_bytes() == other.read_bytes()
    assert names(".") == ["a.ncx", "b.ncx"]


def test_a_file_that_stays_the_same_is_not_touched(run: Run) -> None:
    path = write_ncx("a.ncx", (("TITLE", "Hum"),))
    before = path.stat()
    assert run("tags", "--set", "TITLE=Hum", "--remove", "ARTIST", path).code == 0
    assert path.stat().st_ino == before.st_ino
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert run("tags", "--set", "title=Hum", path).code == 0
    assert tags_of(path) == (("title", "Hum"),)


def test_a_link_stays_a_link(run: Run) -> None:
    write_ncx("a.ncx")
    Path("link.ncx").symlink_to("a.ncx")
    assert run("tags", "--add", "X=y", "link.ncx").code == 0
    assert Path("link.ncx").is_symlink()
    assert tags_of("a.ncx") == (("X", "y"),)


def test_damage_behind_the_header_is_kept(run: Run) -> None:
    path = write_ncx("a.ncx")
    tail = bytearray(path.read_bytes()[-100:-9])
    tail[20] ^= 1
    path.write_bytes(path.read_bytes()[:-100] + tail)
    assert run("verify", path).code == 1
    assert run("tags", "--add", "X=y", path).code == 0
    assert tags_of(path) == (("X", "y"),)
    assert path.read_bytes().endswith(bytes(tail))


def test_a_damaged_header_is_refused(run: Run) -> None:
    path = write_ncx("a.ncx", (("TITLE", "Hum"),))
    content = bytearray(path.read_bytes())
    content[20] ^= 1
    path.write_bytes(content)
    for options in ([], ["--clear"], ["--clear", "-o", "b.ncx"]):
        ran = run("tags", *options, path)
        assert ran.code == 1
        assert ran.err.startswith("ncodec: error: a.ncx: header at byte ")
        assert ran.err.count("\n") == 1
    assert path.read_bytes() == content
    assert names(".") == ["a.ncx"]


def test_one_bad_file_does_not_stop_the_others(run: Run) -> None:
    write_ncx("a.ncx")
    Path("folder").mkdir()
    Path("not.ncx").write_bytes(b"ECDC....")
    write_ncx("full.ncx", (("K", ""),) * (1024 + 65_536))
    write_ncx("z.ncx")
    value = "X=" + "y" * 600
    ran = run("tags", "--add", value, "a.ncx", "no", "folder", "not.ncx", "full.ncx", "z.ncx")
    assert ran.code == 1
    assert ran.err.splitlines() == [
        "ncodec: error: no: No such file or directory",
        "ncodec: error: folder: is not a file that can be replaced",
        "ncodec: error: not.ncx: is an .ecdc file; ncodec repack makes an .ncx file of it",
        "ncodec: error: full.ncx: 65537 tags beyond the header, expected at most 65536",
    ]
    assert tags_of("a.ncx") == tags_of("z.ncx") == (("X", "y" * 600),)


def test_another_file(run: Run) -> None:
    path = write_ncx("a.ncx", (("TITLE", "Hum"),))
    whole = path.read_bytes()
    assert run("tags", "--remove", "X", "-o", "b.ncx", path).code == 0  # made all the same
    assert Path("b.ncx").read_bytes() == whole
    ran = run("tags", "--clear", "-o", "b.ncx", path)
    assert (ran.code, ran.err) == (1, "ncodec: error: b.ncx: exists already; -f replaces it\n")
    assert run("tags", "--clear", "-f", "-o", "b.ncx", path).code == 0
    assert tags_of("b.ncx") == ()
    ran = run("tags", "--clear", "-f", "-o", "a.ncx", path)
    assert ran.err == "ncodec: error: a.ncx: input and output are the same file\n"
    assert run("tags", "--clear", "-o", "-", path).raw == Path("b.ncx").read_bytes()
    assert run("tags", "--clear", "-o", "new/", path, "b.ncx").code == 0
    assert names("new") == ["a.ncx", "b.ncx"]
    assert path.read_bytes() == whole


def test_a_pipe_into_another_file(run: Run) -> None:
    whole = write_ncx("a.ncx").read_bytes()
    os.mkfifo("pipe")
    ran = run("tags", "--add", "X=y", "pipe")
    assert ran.err == "ncodec: error: pipe: is not a file that can be replaced\n"
    writer = threading.Thread(target=lambda: Path("pipe").write_bytes(whole))
    writer.start()
    ran = run("tags", "--add", "X=y", "-o", "b.ncx", "pipe")
    writer.join()
    assert ran.code == 0
    assert tags_of("b.ncx") == (("X", "y"),)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--set", "Hum"], "--set: 'Hum' is not KEY=VALUE"),
        (["--add", "=x"], f"--add: tag: the key is '', {EXPECTED}"),
        (["--remove", "K=v"], f"--remove: tag: the key is 'K=v', {EXPECTED}"),
        (["--set", "Ü=x"], f"--set: tag: the key is '\\xdc', {EXPECTED}"),
        (["--add", "K=\udcff"], "--add: tag cannot be written as UTF-8: surrogates not allowed"),
        (["--json", "--clear"], "--json: only without the options that change something"),
        (["-o", "b.ncx"], "-o: nothing is written without an option that changes something"),
        (["--clear", "-"], "standard input: its tags can be shown, but not changed"),
    ],
)  # fmt: skip
def test_bad_command_lines(run: Run, args: list[str], said: str) -> None:
    path = write_ncx("a.ncx", (("TITLE", "Hum"),))
    whole = path.read_bytes()
    ran = run("tags", path, *args)
    assert (ran.code, ran.err) == (2, f"ncodec: error: {said}\n")
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    ("listing", "said"),
    [
        (b"A=1\nHum\n", "list, line 2: 'Hum' is not KEY=value"),
        (b"A=1\nB=\xff\n", "list: is not UTF-8 at byte 6"),
        (b"A=\\q", "list, line 1: \\q means nothing; a backslash is \\\\"),
        (b"A=\\", "list, line 1: \\ means nothing; a backslash is \\\\"),
        (b"A=\\U00110000", "list, line 1: \\U00110000 means nothing; a backslash is \\\\"),
        (b"A=\\udcff", "list, line 1: tag cannot be written as UTF-8: surrogates not allowed"),
        (b"==> a.ncx <==\n", f"list, line 1: tag: the key is '', {EXPECTED}"),
        (None, "list: No such file or directory"),
    ],
)  # fmt: skip
def test_bad_lists(run: Run, listing: bytes | None, said: str) -> None:
    path = write_ncx("a.ncx")
    if listing is not None:
        Path("list").write_bytes(listing)
    ran = run("tags", "--from", "list", path)
    assert (ran.code, ran.err) == (1, f"ncodec: error: {said}\n")
    assert tags_of(path) == ()


def test_a_list_that_is_too_long(run: Run) -> None:
    with Path("list").open("wb") as stream:
        stream.truncate((1 << 26) + 1)
    ran = run("tags", "--from", "list", write_ncx("a.ncx"))
    said = "list: has more than 67108864 bytes: too many for tags"
    assert (ran.code, ran.err) == (1, f"ncodec: error: {said}\n")


def test_limits(run: Run) -> None:
    path = write_ncx("a.ncx", (("K", ""),) * 1024)
    assert run("tags", "--add", "K=", path).code == 0
    assert len(tags_of(path)) == 1025
    Path("list").write_text("K=\n" * (1024 + 65_537))
    ran = run("tags", "--clear", "--from", "list", path)
    fault = "65537 tags beyond the header, expected at most 65536"
    assert (ran.code, ran.err) == (1, f"ncodec: error: a.ncx: {fault}\n")
    assert len(tags_of(path)) == 1025


def test_pictures(run: Run) -> None:
    path = write_ncx("a.ncx", (("TITLE", "Hum"),))
    before = path.read_bytes()
    Path("cover.png").write_bytes(b"\x89PNG...")
    Path("back.jpg").write_bytes(b"\xff\xd8\xff...")
    assert run("tags", "--picture", "cover.png", "--picture", "back.jpg", path).code == 0
    with path.open("rb") as stream:
        found = Reader(stream).header.pictures
    assert found == (Picture(b"\x89PNG...", "image/png"), Picture(b"\xff\xd8\xff...", "image/jpeg"))
    assert run("tags", path).out == "TITLE=Hum\n"
    assert run("tags", "--remove-pictures", "--add", "ARTIST=x", path, "-o", "b.ncx").code == 0
    assert tags_of("b.ncx") == (("TITLE", "Hum"), ("ARTIST", "x"))
    assert run("tags", "--remove-pictures", path).code == 0
    after = path.read_bytes()
    assert after[7] == 0x12  # a minor version does not fall
    assert after[after.index(b"\xb5\x6e") :] == before[before.index(b"\xb5\x6e") :]
    assert len(after) == len(before)


@pytest.mark.parametrize("content", [b"", b"text", None])
def test_what_is_no_picture(run: Run, content: bytes | None) -> None:
    path = write_ncx("a.ncx")
    if content is not None:
        Path("cover.png").write_bytes(content)
    ran = run("tags", "--picture", "cover.png", path)
    fault = "is no picture that is known: JPEG, PNG, GIF, WebP or BMP"
    fault = "No such file or directory" if content is None else fault
    assert (ran.code, ran.err) == (1, f"ncodec: error: cover.png: {fault}\n")


def test_files_of_encode(run: Run, make_ncx: Callable[..., Path]) -> None:
    path = make_ncx("song.ncx", title="Hum")
    assert run("tags", "--set", "TITLE=Hymn", path).code == 0
    assert run("tags", path).out == "TITLE=Hymn\n"
    assert run("verify", path).code == 0


def test_torch_is_not_imported() -> None:
    path = write_ncx("a.ncx")
    script = """
import sys
from ncodec.cli.main import main
try:
    main(prog_name="ncodec")
finally:
    print(*(name for name in ("torch", "numpy") if name in sys.modules))
"""
    for options in (["--json"], ["--add", "X=y"]):
        args = [sys.executable, "-c", script, "tags", *options, str(path)]
        ran = subprocess.run(args, capture_output=True, text=True, check=True)
        assert ran.stdout.endswith("\n")
        assert ran.stdout.splitlines()[-1] == ""
