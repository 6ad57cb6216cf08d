"""Whenever a run is killed or interrupted, the next one ends with what one that was not makes."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from trees import contents, convert, make_audio, make_mixed, state_files

from ncodec.batch.storage import STATE

if TYPE_CHECKING:
    from forking import Child, Warm

pytestmark = pytest.mark.skipif(os.name != "posix", reason="is about signals")
COMMAND = ("batch", "-qm", "tiny", "lib", "small")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> tuple[Path, dict[str, bytes]]:
    """A tree, and what becomes of it undisturbed."""
    folder = tmp_path_factory.mktemp("library")
    make_mixed(folder / "lib")
    for number in range(40):
        name = folder / f"lib/clips/{number // 10}/{number}.wav"
        make_audio(name, n_samples=3000 + number // 4, seed=number)
    make_audio(folder / "lib/clips/late.wav", n_samples=300_000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NCODEC_CACHE", str(cache))
        outcomes = convert(folder / "lib", folder / "whole", model="tiny", n_workers=0)
        assert {outcome.status for outcome in outcomes} == {"done"}
    return folder / "lib", contents(folder / "whole")


@pytest.fixture
def expected(library: tuple[Path, dict[str, bytes]]) -> dict[str, bytes]:
    """Put the tree here; return what becomes of it."""
    Path("lib").symlink_to(library[0])
    return library[1]


def start(warm: "Warm", *args: str) -> "Child":
    env = {"NCODEC_CACHE": os.environ["NCODEC_CACHE"]}
    return warm.start(*COMMAND, *args, cwd=Path.cwd(), env=env)


def check_whole(expected: dict[str, bytes]) -> int:
    """All that is there is as it should be; return how much that is."""
    made = contents(Path("small")) if Path("small").exists() else {}
    assert made.items() <= expected.items()
    return len(made)


def wait_for_files(least: float, seconds: float) -> None:
    """Wait until there are more files than that, or so long."""
    end = time.perf_counter() + seconds
    while len([*Path("small").rglob("[!.]*.ncx")]) <= least and time.perf_counter() < end:
        time.sleep(0.002)


def test_killed_and_resumed(warm: "Warm", expected: dict[str, bytes]) -> None:
    started = time.perf_counter()
    assert start(warm, "-j", "0").wait().code == 0
    longest = 4 * (time.perf_counter() - started)
    assert contents(Path("small")) == expected
    n_partial = 0
    for shares in ((0.0, 0.3), (0.1, 0.7)):
        Path("small").rename(f"old {shares}")
        for share in shares:
            child = start(warm, "-j", "0")
            wait_for_files(share * len(expected), longest)
            child.kill()
            child.wait()
            n_partial += 0 < check_whole(expected) < len(expected)
        ended = start(warm, "-j", "0").wait()
        assert (ended.code, ended.err) == (0, "")
        assert contents(Path("small")) == expected
        assert state_files(Path("small")) == [".jsonl"]
    assert n_partial


def test_two_runs_at_once(warm: "Warm", expected: dict[str, bytes]) -> None:
    children = [start(warm, "-j", "0") for _ in range(3)]
    for child in children:
        ended = child.wait()
        assert (ended.code, ended.err) == (0, "")
    assert contents(Path("small")) == expected
    assert state_files(Path("small")) == [".jsonl"]
    assert len([*Path("small", STATE).iterdir()]) == 3
    assert {done.status for done in convert("lib", "small", model="tiny")} == {"skipped"}


@pytest.mark.parametrize("jobs", ["0", "1"])
def test_interrupted_and_resumed(warm: "Warm", expected: dict[str, bytes], jobs: str) -> None:
    child = start(warm, "-j", jobs, "--report", "report.json")
    wait_for(lambda: check_whole(expected) > 3)
    child.kill(signal.SIGINT)
    ended = child.wait()
    assert (ended.code, ended.err) == (130, "ncodec: interrupted\n")
    n_made = check_whole(expected)
    assert n_made < len(expected)
    assert state_files(Path("small")) == [".jsonl"]
    assert '"interrupted": true' in Path("report.json").read_text()
    outcomes = [*convert("lib", "small", model="tiny", n_workers=0)]
    skipped = sum(outcome.status == "skipped" for outcome in outcomes)
    assert 0 < skipped <= n_made
    assert contents(Path("small")) == expected


def test_workers_end_with_who_started_them(warm: "Warm", expected: dict[str, bytes]) -> None:
    child = start(warm, "-j", "1")
    wait_for(lambda: check_whole(expected) > 3)
    (worker,) = children_of(child.pid)
    child.kill()
    child.wait()
    wait_for(lambda: not Path(f"/proc/{worker}/cmdline").read_bytes())
    [*convert("lib", "small", model="tiny", n_workers=0)]
    assert contents(Path("small")) == expected
    assert state_files(Path("small")) == [".jsonl"]


def wait_for(condition: Any, seconds: float = 60) -> None:
    give_up = time.monotonic() + seconds
    with contextlib.suppress(FileNotFoundError):
        while not condition():
            assert time.monotonic() < give_up, "nothing happens"
            time.sleep(0.01)


def children_of(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in listed.split()]


N_BROKEN = 10


@pytest.fixture
def large() -> None:
    """A tree of 500 files and more."""
    rng = random.Random(0)
    for number in range(500):
        suffix, rate = rng.choice(
            [("wav", 8000), ("flac", 44100), ("ogg", 16000), ("mp3", 16000), ("wav", 22050),
             ("opus", 24000), ("aiff", 48000), ("w64", 8000)]
        )  # fmt: skip
        seconds = rng.choice((0.1, 0.5, 0.5, 1.0, 2.0, 5.0, 15.0))
        make_audio(
            f"lib/{number % 7}/{number % 3}/Nº {number}.{suffix}", n_samples=round(seconds * rate),
            n_channels=rng.choice((1, 1, 2)), rate=rate, seed=number,
        )  # fmt: skip
    make_mixed(Path("lib/mixed"))
    for number in range(N_BROKEN):
        content = Path("lib/mixed/long.w64").read_bytes()[: number * 150]
        Path(f"lib/{number % 7}/broken {number}.flac").write_bytes(content)


@pytest.mark.slow
@pytest.mark.usefixtures("large")
def test_killed_at_random_often() -> None:
    outcomes = [*convert("lib", "whole", model="tiny", n_workers=2, verify=True)]
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    assert len(failed) == N_BROKEN
    assert all("broken" in outcome.source for outcome in failed)
    expected = contents(Path("whole"))
    assert len(expected) == 515
    rng = random.Random(1)
    n_killed = n_workers_killed = 0
    while n_killed < 20:
        process = subprocess.Popen(
            [sys.executable, "-m", "ncodec", "batch", "-qm", "tiny", "lib", "small"],
            stderr=subprocess.DEVNULL,
        )
        before = check_whole(expected)
        wait_for(lambda before=before: check_whole(expected) > before, 120)
        time.sleep(rng.uniform(0, 0.4))
        if rng.random() < 0.5:
            workers = children_of(process.pid)
            if workers:
                os.kill(rng.choice(workers), signal.SIGKILL)
                n_workers_killed += 1
            time.sleep(rng.uniform(0, 0.4))
        process.kill()
        if process.wait() != -signal.SIGKILL:
            break
        n_killed += 1
    print(n_killed, n_workers_killed)
    outcomes = [*convert("lib", "small", model="tiny", n_workers=2)]
    assert sum(outcome.status == "failed" for outcome in outcomes) == N_BROKEN
    assert contents(Path("small")) == expected
    assert state_files(Path("small")) == [".jsonl"]
    assert n_killed + n_workers_killed >= 20
