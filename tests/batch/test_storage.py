"""Trees of files, here and elsewhere."""

import os
import pickle
import sys
import time
from pathlib import Path

import pytest
from trees import ODD, make_audio

from ncodec.batch.conversion import open_storage
from ncodec.batch.local_storage import LocalStorage
from ncodec.batch.storage import STATE, Storage, check_apart, is_plain
from ncodec.errors import NcodecError, UsageError

NOWHERE = open_storage("/nonexistent/nowhere")
posix_only = pytest.mark.skipif(os.name != "posix", reason="needs links and odd names")


def listed(root: Path | str, without: Storage = NOWHERE) -> list[str]:
    return [entry.path for entry in open_storage(root).walk(without).files]


def touch(*paths: str) -> None:
    for path in paths:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(b"abc")


def test_all_files_are_listed() -> None:
    touch("lib/b.wav", "lib/a/c.wav", "lib/.x/d.wav", f"lib/{STATE}/e.wav", "lib/.ncodec-0.wav")
    assert listed("lib") == [".x/d.wav", "a/c.wav", "b.wav"]
    assert listed(f"file://{Path('lib').resolve()}") == listed("lib")


def test_size_and_time_are_known() -> None:
    touch("lib/b.wav")
    os.utime("lib/b.wav", ns=(7, 1_234_567_890_123_456_789))
    (entry,) = open_storage("lib").walk(NOWHERE).files
    assert (entry.size, entry.mtime_ns, entry.problem) == (3, 1_234_567_890_123_456_789, "")


@pytest.mark.parametrize("name", ["nothing", "a file"])
def test_what_is_not_a_folder_is_refused(name: str) -> None:
    touch("a file")
    with pytest.raises(UsageError, match=f"^{name}: (no such|is not a) folder$"):
        listed(name)


@posix_only
def test_odd_names_are_listed() -> None:
    touch(f"lib/{ODD}/{ODD}.wav")
    assert listed("lib") == [f"{ODD}/{ODD}.wav"]


@posix_only
def test_deep_trees_are_listed() -> None:
    deep = "/".join(["x" * 200] * 17)
    touch(f"lib/{deep}/a.wav")
    assert listed("lib") == [f"{deep}/a.wav"]


@posix_only
def test_links_are_followed_once() -> None:
    touch("lib/real/a.wav", "outside/b.wav", "outside/deep/c.wav")
    Path("lib/real/loop").symlink_to("..")
    Path("lib/a link to what is there").symlink_to("real")
    Path("lib/out").symlink_to("../outside")
    Path("lib/again").symlink_to("../outside/deep")
    Path("lib/file.wav").symlink_to("real/a.wav")
    assert listed("lib") == ["again/c.wav", "file.wav", "out/b.wav", "real/a.wav"]


@posix_only
def test_links_that_lead_nowhere_and_pipes() -> None:
    touch("lib/a.wav")
    Path("lib/b.wav").symlink_to("gone.wav")
    os.mkfifo("lib/c.wav")
    found = {entry.path: entry.problem for entry in open_storage("lib").walk(NOWHERE).files}
    assert found == {"a.wav": "", "b.wav": "a link that leads nowhere"}


@posix_only
def test_folders_that_cannot_be_listed_are_told(request: pytest.FixtureRequest) -> None:
    make_audio("lib/a.wav")
    touch("lib/shut/b.wav")
    Path("lib/shut").chmod(0)
    ended = request.getfixturevalue("warm").run(
        "batch", "-m", "tiny", "-j", "0", "lib", "small", cwd=Path.cwd(), unprivileged=True,
        env={"NCODEC_CACHE": os.environ["NCODEC_CACHE"]},
    )  # fmt: skip
    Path("lib/shut").chmod(0o700)
    assert ended.code == 1
    assert ended.err.startswith("ncodec: error: shut: cannot be listed: Permission denied\n")
    assert Path("small/a.ncx").exists()


def test_a_target_within_is_left_out() -> None:
    touch("lib/a.wav", "lib/small/b.wav")
    assert listed("lib", open_storage("lib/small")) == ["a.wav"]
    assert listed("lib/small", open_storage("lib")) == ["b.wav"]


@pytest.mark.parametrize(
    ("source", "target", "fits"),
    [
        ("lib", "small", True),
        ("lib", "lib/small", True),
        ("lib", "lib", False),
        ("lib/flac", "lib", False),
        ("lib", "lib/../lib/.", False),
        ("memory://lib", "lib", True),
        ("memory://lib", "memory://lib/small", True),
        ("memory://lib", "memory://lib/", False),
        ("memory://lib/flac", "memory://lib", False),
    ],
)
def test_a_source_lies_outside_of_the_target(source: str, target: str, fits: bool) -> None:
    if fits:
        check_apart(open_storage(source), open_storage(target))
    else:
        with pytest.raises(UsageError, match=r"is source and target|lies in"):
            check_apart(open_storage(source), open_storage(target))


def publish(place: Storage, path: str, content: bytes, mtime_ns: int | None = None) -> int:
    with place.workspace("run") as work, place.stage(path, work) as staged:
        staged.path.write_bytes(content)
        return staged.publish(mtime_ns)


@pytest.mark.parametrize("root", ["made/of/it", "memory://made"])
def test_drafts_are_published(root: str) -> None:
    place = pickle.loads(pickle.dumps(open_storage(root)))
    assert publish(place, "x y/a.wav", b"older") == 5
    assert publish(place, "x y/a.wav", b"new", 5_000_000_000) == 3
    assert place.sizes(["x y/a.wav", "b.wav"]) == {"x y/a.wav": 3}
    with place.fetch("x y/a.wav", Path()) as path:
        assert path.read_bytes() == b"new"
    assert listed(root) == ["x y/a.wav"]
    assert not any(Path().glob("*.wav"))


def test_a_draft_that_is_not_published_is_no_more() -> None:
    place = open_storage("made")
    with place.workspace("run") as work:
        with place.stage("a.wav", work) as staged:
            staged.path.write_bytes(b"new")
        assert not any(work.iterdir())
    assert listed("made") == []
    assert not any(Path("made", STATE).iterdir())


def test_times_are_kept() -> None:
    publish(open_storage("made"), "a.wav", b"new", 1_234_567_890_123_456_789)
    assert Path("made/a.wav").stat().st_mtime_ns == 1_234_567_890_123_456_789


@pytest.mark.parametrize("path", ["folder", "file/a.wav"])
def test_what_cannot_be_published_is_told(path: str) -> None:
    touch("made/file", "made/folder/x")
    with pytest.raises(NcodecError, match="cannot be written"):
        publish(open_storage("made"), path, b"new")


def test_another_file_system_within_the_target(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    touch("made/a.wav")
    place = open_storage("made")
    with place.workspace("run") as work, place.stage("a.wav", work) as staged:
        staged.path.write_bytes(b"new")
        replace = Path.replace
        monkeypatch.setattr(
            Path, "replace", lambda a, b: refuse() if a.parent == work else replace(a, b)
        )
        staged.publish(5_000_000_000)
    assert Path("made/a.wav").read_bytes() == b"new"
    assert Path("made/a.wav").stat().st_mtime_ns == 5_000_000_000


@posix_only
def test_drafts_of_dead_runs_are_removed() -> None:
    touch(f"made/{STATE}/dead.work/x", f"made/{STATE}/dead.lock", f"made/{STATE}/lost.work/x")
    place = open_storage("made")
    with place.workspace("first") as first, place.workspace("second") as second:
        names = sorted(path.name for path in Path("made", STATE).iterdir())
        assert names == ["first.lock", "first.work", "second.lock", "second.work"]
        assert first != second
    assert not any(Path("made", STATE).iterdir())


@pytest.mark.parametrize("root", ["made", "memory://logs"])
def test_logs_of_all_runs_are_read(root: str) -> None:
    place = open_storage(root)
    for run in ("one", "two"):
        with place.workspace(run):
            log = place.open_log(run)
            log.append(f"{run} a\n".encode(), now=True)
            log.append(f"{run} b\n".encode(), now=False)
            log.append(f"{run} c\n".encode(), now=True)
            before = b"".join(place.logs())
            log.close()
        assert before.endswith(f"{run} a\n{run} b\n{run} c\n".encode())
    assert b"".join(place.logs()) == b"one a\none b\none c\ntwo a\ntwo b\ntwo c\n"
    assert listed(root) == []


@pytest.mark.parametrize("root", ["made", "memory://empty"])
def test_a_run_without_events_leaves_no_log(root: str) -> None:
    place = open_storage(root)
    with place.workspace("run"):
        place.open_log("run").close()
    assert [*place.logs()] == []


@pytest.mark.parametrize(
    ("path", "plain"),
    [("a/b", True), ("..a", True), ("../a", False), ("a/../b", False), ("/a", False),
     ("a//b", False), ("./a", False), ("a\0", False)],
)  # fmt: skip
def test_names_that_lead_out(path: str, plain: bool) -> None:
    assert is_plain(path) is plain


def test_folders_that_workers_elsewhere_left_go_after_days(tmp_path: Path) -> None:
    place = open_storage("memory://bucket")
    for name, days in (("ncodec-batch-old", 3), ("ncodec-batch-new", 1), ("other", 9)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "staged.ncx").touch()
        then = time.time() - days * 24 * 3600
        os.utime(tmp_path / name, (then, then))
    place.enter(tmp_path / "ncodec-batch-this")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "ncodec-batch-new", "ncodec-batch-this", "other",
    ]  # fmt: skip


def test_protocols_that_are_not_there() -> None:
    with pytest.raises(UsageError, match="^nosuch://x: .*nosuch"):
        open_storage("nosuch://x")


def test_fsspec_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(UsageError, match=r"needs fsspec: pip install 'ncodec\[remote\]'"):
        open_storage("memory://x")
    assert isinstance(open_storage("x"), LocalStorage)


@posix_only
def test_names_that_are_not_unicode_stay_here() -> None:
    with pytest.raises(NcodecError, match="not valid Unicode"):
        publish(open_storage("memory://odd"), "\udcff.wav", b"")
