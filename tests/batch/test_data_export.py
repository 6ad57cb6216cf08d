"""Codes to shards of tokens and back: the same codes, in every format and layout."""

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from clips import codes_below, contents, exported, make_clip, make_clips
from trees import Ran

import ncodec
from ncodec.batch.data import FORMATS, ExportOptions, Layout, export, records, restore
from ncodec.errors import NcodecError, UsageError

LAYOUTS = [("frames", False), ("flat", False), ("flat", True), ("delay", False)]
Run = Callable[..., Ran]


@pytest.fixture(scope="module")
def coded(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NCODEC_CACHE", str(cache))
        return make_clips(tmp_path_factory.mktemp("coded"), 200)


def manifest(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


@pytest.mark.quick
@pytest.mark.parametrize(("layout", "offset"), LAYOUTS)
def test_a_layout_and_back(layout: str, offset: bool) -> None:
    codes = np.random.default_rng(0).integers(0, 1024, (8, 30))
    one = Layout(layout, 8, 1024, offset)
    for n_frames in (0, 1, 5, 30):
        tokens = one.arrange(codes[:, :n_frames])
        assert tokens.shape == one.shape(n_frames)
        assert tokens.dtype == np.int16
        assert not tokens.size or tokens.max() < one.n_tokens
        assert np.array_equal(one.restore(tokens), codes[:, :n_frames])


def test_tokens_are_where_language_models_expect_them() -> None:
    codes = np.array([[1, 2, 3], [4, 5, 6]])
    assert Layout("flat", 2, 8).arrange(codes).tolist() == [1, 4, 2, 5, 3, 6]
    assert Layout("flat", 2, 8, True).arrange(codes).tolist() == [1, 12, 2, 13, 3, 14]
    assert Layout("delay", 2, 8).arrange(codes).tolist() == [[1, 2, 3, 8], [8, 4, 5, 6]]
    assert Layout("flat", 40, 1024, True).dtype == np.int32


@pytest.mark.parametrize(
    ("one", "tokens"),
    [
        (Layout("frames", 2, 8), [[1, 2], [3, 8]]),
        (Layout("frames", 2, 8), [[1, 2]]),
        (Layout("flat", 2, 8), [1, 2, 3]),
        (Layout("flat", 2, 8, True), [9, 9]),
        (Layout("delay", 2, 8), [[1, 8, 8], [8, 3, 4]]),
        (Layout("delay", 2, 8), [[1, -1, 8], [8, 3, 4]]),
    ],
)
def test_refuses_tokens_that_are_no_codes(one: Layout, tokens: list) -> None:
    with pytest.raises(NcodecError, match="tokens"):
        one.restore(np.array(tokens))


@pytest.mark.quick
@pytest.mark.parametrize(
    ("to", "layout", "offset"),
    [
        # Of a shard's format, or of a layout, the others of it are of one kind.
        pytest.param(to, *one, marks=[] if to == "npy" or one == LAYOUTS[0] else pytest.mark.slow)
        for to in FORMATS
        for one in LAYOUTS
    ],
)
def test_from_clips_to_shards_and_back(coded: Path, to: str, layout: str, offset: bool) -> None:
    out = exported(coded, to, layout=layout, offset=offset)
    assert len(list(out.glob("shard-*"))) == 4
    assert restore(out, "back", n_workers=0) == 200
    assert codes_below(Path("back")) == codes_below(coded)
    some = next(coded.rglob("*.ncx"))
    again = Path("back") / some.relative_to(coded)
    assert np.array_equal(ncodec.decode(again)[0], ncodec.decode(some)[0])
    assert ncodec.inspect(again).header.tags == ncodec.inspect(some).header.tags


@pytest.mark.parametrize("to", FORMATS)
def test_others_read_the_shards(coded: Path, to: str) -> None:
    out = exported(coded, to, layout="delay", n_q=2, manifest="jsonl")
    row = manifest(out)[60]
    wanted = ncodec.read_codes(coded / row["path"], n_q=2)[0]
    shard = out / row["shard"]
    if to == "npy":
        tokens = np.load(shard, mmap_mode="r")[:, row["start"] :][:, : wanted.shape[1] + 1]
    elif to == "npz":
        tokens = np.load(shard)[row["key"]]
    elif to == "safetensors":
        load_file = pytest.importorskip("safetensors.numpy").load_file
        tokens = load_file(shard)[row["key"]]
    elif to == "parquet":
        table = pytest.importorskip("pyarrow.parquet").read_table(shard).to_pylist()
        (found,) = (one for one in table if one["key"] == row["key"])
        assert {name: value for name, value in found.items() if name != "codes"} == row
        tokens = np.array(found["codes"])
    else:
        webdataset = pytest.importorskip("webdataset")
        samples = list(webdataset.WebDataset(str(shard), shardshuffle=False).decode())
        (found,) = (one for one in samples if one["__key__"] == row["key"])
        assert found["json"] == row
        tokens = found["npy"]
    assert np.array_equal(tokens[0, :-1], wanted[0])
    assert np.array_equal(tokens[1, 1:], wanted[1])


def test_the_manifest_says_what_each_clip_is(coded: Path) -> None:
    rows = manifest(exported(coded))
    assert [row["path"] for row in rows] == sorted(codes_below(coded))
    assert len({row["key"] for row in rows}) == 200
    by_path = {row["path"]: row for row in rows}
    row = by_path["3/1/clip 10.ncx"]
    codes, facts = ncodec.read_codes(coded / row["path"], with_facts=True)
    assert (row["speaker"], row["text"]) == ("j10", "words of 10")  # of the .json, and of the .txt
    assert (row["model"], row["fingerprint"]) == ("tiny", facts.model_fingerprint)
    assert (row["frames"], row["codebooks"]) == (codes.shape[2], 3)
    assert row["duration"] == pytest.approx(facts.duration_s)
    assert by_path["1/1/clip 1.ncx"]["speaker"] == "s1"  # of a tag
    assert by_path["1/1/clip 1.ncx"]["text"] == ""


def test_a_manifest_in_parquet_says_the_same(coded: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    out = exported(coded, "npy", manifest="parquet")
    found = parquet.read_table(out / "manifest.parquet").to_pylist()
    other = exported(coded, "npz")
    assert [{**row, "start": 0} for row in found] == [
        {**row, "shard": row["shard"].replace("npz", "npy"), "start": 0} for row in manifest(other)
    ]
    assert restore(out, "back", n_workers=0) == 200
    assert codes_below(Path("back")) == codes_below(coded)


def test_the_number_of_workers_changes_nothing(coded: Path) -> None:
    alone = exported(coded, "webdataset", shard_size=30)
    done = export([coded], "two", ExportOptions("webdataset", shard_size=30), n_workers=2)
    assert (done.n_clips, done.n_shards, done.n_shards_before) == (200, 7, 0)
    assert contents(Path("two")) == contents(alone)
    assert restore("two", "back", n_workers=2) == 200
    assert codes_below(Path("back")) == codes_below(coded)


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
@pytest.mark.parametrize(
    ("to", "jobs"),
    [
        pytest.param(to, jobs, marks=[] if jobs == "0" or to == "npy" else pytest.mark.slow)
        for to in FORMATS
        for jobs in ("0", "2")
    ],
)
def test_a_killed_export_goes_on_to_the_same_shards(coded: Path, to: str, jobs: str) -> None:
    options = ["--to", to, "--shard-size", "5", "--layout", "flat", "-j", jobs]
    command = [sys.executable, "-m", "ncodec", "codes", "export", str(coded), "-q", *options]
    process = subprocess.Popen([*command, "-o", "killed"], process_group=0)
    give_up = time.monotonic() + 120
    while len(list(Path("killed").glob("*.part.jsonl"))) < 3 and time.monotonic() < give_up:
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)  # the workers see that it is gone
    process.wait()
    before = {path.name: path.stat().st_mtime_ns for path in Path("killed").glob("*.part.jsonl")}
    assert before
    assert not Path("killed/manifest.jsonl").exists()
    with pytest.raises(NcodecError, match="is the export complete"):
        restore("killed", "back")
    chosen = ExportOptions(to, "flat", shard_size=5)
    done = export([coded], "killed", chosen, n_workers=0)
    assert done.n_shards_before >= len(before)
    export([coded], "whole", chosen, n_workers=0)
    assert contents(Path("killed")) == contents(Path("whole"))
    again = export([coded], "killed", chosen, n_workers=0)
    assert again.n_shards_before == again.n_shards == 40


def test_another_export_is_not_replaced_unasked(coded: Path, run: Run) -> None:
    base = ("codes", "export", coded, "-o", "out", "-j", "0", "--to", "npz")
    assert run(*base).err == "out: 200 clips in 1 shard\n"
    assert "1 of them done before" in run(*base).err
    refused = run(*base, "--layout", "delay")
    assert refused.code == 1
    assert refused.err == (
        "ncodec: error: out: holds an export of other files or options; -f replaces it\n"
    )
    assert run(*base, "--layout", "delay", "-f").code == 0
    back = ("codes", "import", "out", "-o", "back", "-j", "0", "--entropy", "adaptive")
    assert run(*back).err == "back: 200 clips\n"
    assert run(*back).code == 1
    assert run(*back, "-f", "-q").err == ""
    assert codes_below(Path("back")) == codes_below(coded)


def test_odd_inputs_are_named(run: Run) -> None:
    def said(*args: object) -> str:
        ran = run("codes", "export", *args, "-o", "out", "--to", "npz", "-j", "0", "-f", "-q")
        assert ran.code == 1
        (line,) = ran.err.splitlines()
        return line

    assert said("in").endswith("in: no such file or folder")
    Path("in").mkdir()
    assert said("in").endswith("no .ncx file is there")
    make_clip(Path("in/a.ncx"), 1, 20)
    Path("in/b.ncx").write_bytes(b"RIFF and so on")
    assert "in/b.ncx: " in said("in")
    Path("in/b.ncx").write_bytes(Path("in/a.ncx").read_bytes()[:-8])
    assert "in/b.ncx: " in said("in")
    Path("in/b.ncx").unlink()
    make_clip(Path("in/c.ncx"), 1, 20, n_q=2)
    assert "in/c.ncx: 2 codebooks, but 3 are wanted" in said("in")
    assert "in/c.ncx: 2 codebooks, but 3 are wanted" in said("in", "--n-q", "3")
    make_clip(Path("in/c.ncx"), 1, 20, model="modelled", overwrite=True)
    assert "in/c.ncx: model modelled, but in/a.ncx has tiny" in said("in")
    wav = np.linspace(0, 0.1, 8000, dtype=np.float32).reshape(2, 4000)
    Path("in/c.ncx").write_bytes(ncodec.encode(wav, 8000, model="tiny", n_q=3))
    assert "in/c.ncx: streams 2, but in/a.ncx has 1" in said("in")
    Path("in/c.ncx").unlink()
    Path("in/a.json").write_text("[1]")
    assert "in/a.json: is not a JSON object" in said("in")
    ran = run("codes", "export", "in/a.ncx", "in/../in/a.ncx", "-o", "out", "--to", "npz")
    assert (ran.code, "would both be called a.ncx" in ran.err) == (2, True)


@pytest.mark.parametrize("entropy", ["packed", "transformer"])
def test_a_bad_file_is_left_out_and_reported(run: Run, entropy: str) -> None:
    model = {"model": "modelled", "entropy": entropy} if entropy == "transformer" else {}
    n_q = 2 if model else 3
    for number in range(6):
        make_clip(Path(f"in/{number}.ncx"), number, 20, n_q, **model)
    for number, content in ((0, b"RIFF"), (3, Path("in/3.ncx").read_bytes()[:-8])):
        Path(f"in/{number}.ncx").write_bytes(content)
    command = ("codes", "export", "in", "-o", "out", "--to", "npz", "-j", "0", "--shard-size", "2")
    ran = run(*command)
    assert ran.code == 1
    first, second, said = ran.err.splitlines()
    assert first.startswith("ncodec: error: in/0.ncx: ")
    assert second.startswith("ncodec: error: in/3.ncx: ")
    assert said == "out: 4 clips in 3 shards, 2 failed"
    assert [row["path"] for row in manifest(Path("out"))] == ["1.ncx", "2.ncx", "4.ncx", "5.ncx"]
    again = run(*command)
    assert (again.code, again.err.splitlines()[:2]) == (1, [first, second])
    assert restore("out", "back", n_workers=0) == 4
    for name, content in codes_below(Path("back")).items():
        assert ncodec.read_codes(f"in/{name}").tobytes() == content
    for number in (4, 5):
        Path(f"in/{number}.ncx").write_bytes(b"")
    for suffix in (".npz", ".parquet"):  # a shard without a clip
        pytest.importorskip("pyarrow")
        done = export(["in"], f"all{suffix}", ExportOptions(suffix[1:], shard_size=2, manifest=(
            "parquet" if suffix == ".parquet" else "jsonl")), n_workers=0)  # fmt: skip
        assert (done.n_clips, len(done.failures)) == (2, 4)
        assert len(list(Path(f"all{suffix}").glob(f"shard-*{suffix}"))) == 2


@pytest.mark.parametrize("to", ["npy", "webdataset"])
def test_trees_that_fsspec_reaches(coded: Path, to: str, run: Run) -> None:
    fsspec = pytest.importorskip("fsspec", reason="needs the extra ncodec[remote]")
    fs = fsspec.filesystem("memory")
    fs.put(str(coded), "/codes/", recursive=True)
    root = next(path for path in fs.find("/codes") if path.endswith(".ncx")).split("/")
    top = "memory://" + "/".join(root[1 : root.index("codes") + (2 if coded.name in root else 1)])
    try:
        options = ("--to", to, "--shard-size", "50")
        ran = run("codes", "export", top, "-o", "memory://out", *options)
        assert (ran.code, ran.err) == (0, "memory://out: 200 clips in 4 shards\n")
        export([coded], "local", ExportOptions(to, shard_size=50), n_workers=0)
        found = {path.removeprefix("/out/"): fs.cat_file(path) for path in fs.find("/out")}
        wanted = contents(Path("local"))
        del found["export.json"], wanted["export.json"]  # has the times of the files
        assert found == wanted
        assert run("codes", "export", top, "-o", "memory://out", *options).err == (
            "memory://out: 200 clips in 4 shards, 4 of them done before\n"
        )
        fs.pipe_file(top.removeprefix("memory:/") + "/zz.ncx", b"no")
        ran = run("codes", "export", top, "-o", "memory://out", *options)
        assert (ran.code, "holds an export of other files" in ran.err) == (1, True)
        ran = run("codes", "export", top, "-o", "memory://out", *options, "-f")
        assert (ran.code, f"{top}/zz.ncx: " in ran.err) == (1, True)
        ran = run("codes", "export", "memory://nowhere", "-o", "memory://out", *options)
        assert (ran.code, "memory://nowhere: no such folder" in ran.err) == (2, True)
    finally:
        fs.rm("/codes", recursive=True)
        fs.rm("/out", recursive=True)


def test_streams_and_empty_clips_come_back() -> None:
    wav = 0.1 * np.random.default_rng(0).standard_normal((2, 9000)).astype(np.float32)
    for name, sound in (("a", wav), ("b", wav[:, :0]), ("c", wav[:, :500])):
        Path("in").mkdir(exist_ok=True)
        blob = ncodec.encode(sound, 8000, model="tiny", n_q=2)
        Path(f"in/{name}.ncx").write_bytes(blob)
    for to in FORMATS:
        out = exported(Path("in"), to, layout="delay", shard_size=1)
        restore(out, f"back.{to}", n_workers=0)
        assert codes_below(Path(f"back.{to}")) == codes_below(Path("in"))


def spoil_manifest(out: Path, **changes: object) -> None:
    rows = manifest(out)
    rows[0] |= changes
    (out / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize(
    "changes",
    [
        {"path": "../../out.ncx"},
        {"path": "/out.ncx"},
        {"path": 3},
        {"shard": "../shard"},
        {"frames": 10**15},
        {"frames": -1},
        {"frames": "many"},
        {"key": "x"},
        {"samples": None},
        {"scales": [["a"]]},
        {"codebook_size": 1 << 40},
        {"model": "\n"},
        {"packet_frames": [1, 10**30]},
        {"tags": [["A=", "b"]]},
        {"extensions": [["a", "b"]]},
    ],
    ids=str,
)
def test_a_wrong_manifest_is_refused(to: str, changes: dict[str, object]) -> None:
    make_clip(Path("in/a.ncx"), 1, 20)
    out = exported(Path("in"), to)
    spoil_manifest(out, **changes)
    if to == "npy" and "key" in changes:
        pytest.skip("an array has no keys")
    with pytest.raises(NcodecError, match="out"):
        restore(out, "back", n_workers=0)
    assert not list(Path().rglob("back/*"))


@pytest.mark.parametrize("to", FORMATS)
def test_a_wrong_shard_is_refused(to: str) -> None:
    make_clip(Path("in/a.ncx"), 1, 20)
    make_clip(Path("in/b.ncx"), 2, 30)
    out = exported(Path("in"), to)
    (shard,) = out.glob("shard*")
    content = shard.read_bytes()
    for n_bytes in (0, 10, len(content) // 3):
        shard.write_bytes(content[:n_bytes])
        with pytest.raises(NcodecError, match=shard.name):
            restore(out, "back", n_workers=0, overwrite=True)
    shard.write_bytes(np.random.default_rng(0).bytes(5000))
    with pytest.raises(NcodecError, match=shard.name):
        restore(out, "back", n_workers=0, overwrite=True)


def test_nothing_is_unpickled() -> None:
    make_clip(Path("in/a.ncx"), 1, 20)
    stream = io.BytesIO()
    np.save(stream, np.array([print], object), allow_pickle=True)
    for to in ("npy", "webdataset"):
        out = exported(Path("in"), to)
        (shard,) = out.glob("shard*")
        if to == "npy":
            shard.write_bytes(stream.getvalue())
        else:
            with tarfile.open(shard, "w") as archive:
                member = tarfile.TarInfo("000000000.npy")
                member.size = len(stream.getvalue())
                archive.addfile(member, io.BytesIO(stream.getvalue()))
        with pytest.raises(NcodecError, match=shard.name):
            restore(out, "back", n_workers=0)


def test_records_are_rows_with_codes(coded: Path) -> None:
    found = list(records([coded], n_q=2))
    assert len(found) == 200
    one = found[17]
    assert np.array_equal(one["codes"], ncodec.read_codes(coded / one["path"], n_q=2)[0])
    assert one["codes"].dtype == np.int16


@pytest.mark.parametrize(
    "options",
    [
        {"to": "wav"},
        {"layout": "other"},
        {"offset": True},
        {"shard_size": 0},
        {"manifest": "csv"},
    ],
)
def test_refuses_options(options: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        ExportOptions(**{"to": "npz", **options})  # type: ignore[arg-type]


def test_exporting_needs_no_torch(coded: Path) -> None:
    code = """
import sys
sys.modules["torch"] = None  # its import fails
from ncodec.batch.data import ExportOptions, export, restore
export([sys.argv[1]], "out", ExportOptions("npz"), n_workers=0)
print(restore("out", "back", entropy="packed", n_workers=0))
"""
    ran = subprocess.run([sys.executable, "-c", code, coded], check=True, capture_output=True)
    assert ran.stdout == b"200\n"
