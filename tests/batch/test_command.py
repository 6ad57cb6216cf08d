"""`ncodec batch` as a command."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from trees import Ran, contents, make_audio

from ncodec.batch import names
from ncodec.formats.audio_files import READABLE

Run = Callable[..., Ran]
DOCS = (Path(__file__).parents[2] / "docs" / "CLI.md").read_text()


@pytest.fixture
def lib() -> Path:
    make_audio("lib/a/one.wav", title="One")
    make_audio("lib/two.flac", n_samples=16_000)
    Path("lib/cover.jpg").write_bytes(b"picture")
    return Path("lib")


def test_a_summary(batch: Run, lib: Path) -> None:
    ran = batch(lib, "small")
    assert (ran.code, ran.out) == (0, "")
    size = r"[\d.]+ (bytes|kB)"
    assert re.fullmatch(
        rf"2 files, 0.00 h, {size} -> {size}, [\d.]+:1, [\d.]+x real time, "
        r"1 of other kinds left alone\n",
        ran.err,
    )
    assert batch(lib, "small", "--copy-other").err == "1 copied, 2 done before\n"
    assert batch(lib, "small", "-q").err == ""
    assert batch(lib, "small", "--exclude", "*").err == "no files\n"


def test_bad_files_are_listed_at_the_end(batch: Run, lib: Path) -> None:
    for name in ("bad.wav", "a/worse.flac"):
        (lib / name).touch()
    ran = batch(lib, "small")
    assert ran.code == 1
    first, second, summary = ran.err.splitlines()
    assert first == "ncodec: error: a/worse.flac: is empty"
    assert second == "ncodec: error: bad.wav: is empty"
    assert summary.startswith("2 files, ")
    assert summary.endswith(", 2 failed, 1 of other kinds left alone")
    assert len(batch(lib, "small", "-q").err.splitlines()) == 2


def test_a_dry_run_writes_nothing(batch: Run, lib: Path) -> None:
    (lib / "link.wav").symlink_to("gone")
    ran = batch(lib, "small", "--dry-run")
    assert ran.out == "encode: a/one.wav -> a/one.ncx\nencode: two.flac -> two.ncx\n"
    said, summary = ran.err.splitlines()
    assert said == "ncodec: error: link.wav: a link that leads nowhere"
    assert summary.startswith("2 files to do, ")
    assert summary.endswith(" kB, 1 of other kinds, 1 that cannot be done")
    assert ran.code == 1
    assert not Path("small").exists()
    (lib / "link.wav").unlink()
    batch(lib, "small")
    before = {path: path.stat().st_mtime_ns for path in Path("small").rglob("*")}
    ran = batch(lib, "small", "--dry-run", "--copy-other")
    assert ran.out == "copy: cover.jpg -> cover.jpg\n"
    assert ran.err == "1 file to do, 7 bytes, 2 done before\n"
    assert {path: path.stat().st_mtime_ns for path in Path("small").rglob("*")} == before


def test_there_and_back(batch: Run, run: Run, lib: Path) -> None:
    batch(lib, "small")
    ran = run("batch", "--decode", "small", "back", "-j", "0", "--format", "ogg")
    assert (ran.code, ran.out) == (0, "")
    assert " -> " in ran.err
    assert [*contents(Path("back"))] == ["a/one.ogg", "two.ogg"]
    ran = run("batch", "--decode", "small", "back", "-j", "0", "--dry-run", "--subtype", "PCM_24")
    assert ran.out == "decode: a/one.ncx -> a/one.flac\ndecode: two.ncx -> two.flac\n"


def test_remarks_are_told_once(run: Run, batch: Run) -> None:
    import numpy as np
    import soundfile

    Path("lib").mkdir()
    for name in "abc":
        soundfile.write(f"lib/{name}.wav", np.sign(np.sin(np.arange(8000) / 9)), 8000)
    batch("lib", "small")
    ran = run("batch", "--decode", "small", "back", "-j", "0", "--report", "report.json")
    assert ran.code == 0
    said, _ = ran.err.splitlines()
    assert said.startswith("ncodec: warning: a.ncx: ")
    assert said.endswith(" samples clipped, and 2 others; --report lists them")
    report = json.loads(Path("report.json").read_text())
    assert all("clipped" in file["remarks"][0] for file in report["files"])


def test_audio_that_cannot_be_read_is_told(
    batch: Run, lib: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "readable", lambda: READABLE)  # as without FFmpeg
    (lib / "x.M4A").touch()
    (lib / "cover.jpg").touch()
    ran = batch(lib, "small", "--report", "report.json")
    said, done = ran.err.splitlines()
    assert said == "ncodec: warning: 1 .m4a file: audio that pip install 'ncodec[ffmpeg]' reads"
    assert done.endswith(" of other kinds left alone")
    assert ran.code == 0
    assert json.loads(Path("report.json").read_text())["unreadable"] == ["x.M4A"]
    assert batch(lib, "small", "--strict").code == 1
    (lib / "x.M4A").unlink()
    assert batch(lib, "small", "--strict").code == 0


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["lib"], "missing argument 'DST'"),
        (["lib", "lib"], "lib: is source and target"),
        (["lib/a", "lib"], "lib/a: lies in lib"),
        (["nothing", "small"], "nothing: no such folder"),
        (["lib/two.flac", "small"], "lib/two.flac: is not a folder"),
        (["lib", "small", "--format", "flac"], "--format is for --decode"),
        (["lib", "small", "--decode", "-b", "3"], "-b is for encoding"),
        (["lib", "small", "-b", "0.8", "--n-q", "2"], "-b and --n-q exclude each other"),
        (["lib", "small", "--address", "x"], "--address is for --engine ray"),
        (["lib", "small", "-b", "7"], "bandwidth 7 kbps"),
        (["nosuch://lib", "small"], "nosuch://lib: "),
        (["", "small"], "a folder without a name"),
        (["lib", "small", "--report", "no/report.json"], "--report no/report.json: no such folder"),
    ],
)
@pytest.mark.usefixtures("lib")
def test_what_makes_no_sense(run: Run, args: list[str], said: str) -> None:
    model = [] if "--decode" in args else ["-m", "tiny"]
    ran = run("batch", *model, *args)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"ncodec: error: {said}"), ran.err
    assert not Path("small").exists()


def test_a_model_that_is_not_there(run: Run, lib: Path) -> None:
    ran = run("batch", "-m", "nosuch", lib, "small")
    assert ran.code == 1
    assert "model 'nosuch': not installed" in ran.err


def test_only_force_replaces_files_of_others(batch: Run, lib: Path) -> None:
    Path("small").mkdir()
    Path("small/two.ncx").write_bytes(b"precious")
    ran = batch(lib, "small")
    assert ran.code == 1
    assert ran.err.startswith("ncodec: error: two.flac: two.ncx exists already, and is not of an")
    assert batch(lib, "small", "-f").code == 0
    assert Path("small/two.ncx").read_bytes() != b"precious"


def documented(title: str) -> dict[str, str]:
    """Key and type, of a table in docs/CLI.md."""
    section = DOCS.split(f"## {title}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(.*?)` *\| (.*?) *\|", section, flags=re.M)
    return dict(rows)


def places(value: object, place: str = "") -> dict[str, list[object]]:
    """All places of a JSON value, and what is there."""
    found: dict[str, list[object]] = {}
    inner = []
    if isinstance(value, dict):
        inner = [places(item, f"{place}.{name}") for name, item in value.items()]
    elif isinstance(value, list) and all(isinstance(item, dict) for item in value) and value:
        inner = [places(item, f"{place}[]") for item in value]
    else:
        return {place.removeprefix("."): [value]}
    for some in inner:
        for key, values in some.items():
            found.setdefault(key, []).extend(values)
    return found


def test_the_report_is_as_documented(batch: Run, run: Run, lib: Path) -> None:
    (lib / "bad.wav").touch()
    batch(lib, "small", "--report", "first.json", "--copy-other")
    batch(lib, "small", "--report", "second.json")
    run("batch", "--decode", "small", "back", "-j", "0", "--report", "third.json")
    table = documented("JSON of batch, schema ncodec.batch/1")
    types = {"string": str, "integer": int, "number": (int, float), "boolean": bool,
             "list of string": list, "null": type(None)}  # fmt: skip
    for name in ("first", "second", "third"):
        found = places(json.loads(Path(f"{name}.json").read_text()))
        assert found.keys() == table.keys()
        for key, values in found.items():
            kinds = tuple(types[kind] for kind in table[key].split(" or "))
            assert all(isinstance(value, kinds) for value in values), key
    report = json.loads(Path("first.json").read_text())
    assert report["totals"]["n_done"] == 2
    assert report["totals"]["n_failed"] == report["totals"]["n_copied"] == 1
    assert report["totals"]["duration_s"] == 2.5
    files = {file["source"]: file for file in report["files"]}
    assert files["bad.wav"]["error"] == "is empty"
    assert files["two.flac"]["duration_s"] == 2.0
    assert files["two.flac"]["n_bytes_out"] == Path("small/two.ncx").stat().st_size
    second = json.loads(Path("second.json").read_text())
    assert {file["status"] for file in second["files"]} == {"skipped", "failed"}
