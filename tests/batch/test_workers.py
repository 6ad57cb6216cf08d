"""Workers in processes of their own, alive and dead."""

import os
import sys
from pathlib import Path

import pytest
from trees import contents, make_audio, make_mixed, state_files

from ncodec.batch import convert, local
from ncodec.batch.bundles import MAX_FILES, make_bundles
from ncodec.batch.engine import find_engine
from ncodec.batch.outcome import Item
from ncodec.errors import NcodecError, UsageError

# Read by every Python that starts with this folder in its path: the workers.
DEADLY = """
import os
from pathlib import Path
from ncodec.batch.work import Worker

prepare = Worker._begin

def die(self, hand, on_progress):
    name = hand.item.source
    if "deadly" in name or ("once" in name and not Path("died").exists()):
        Path("died").touch()
        os.kill(os.getpid(), 9)
    prepare(self, hand, on_progress)

Worker._begin = die
"""
BROKEN = """
from ncodec.batch.work import Worker

def fail(self, task):
    raise ValueError("no such thing")

Worker.__init__ = fail
"""


@pytest.fixture
def customise(monkeypatch: pytest.MonkeyPatch) -> object:
    """Let workers run some code first."""

    def put(code: str) -> None:
        Path("custom").mkdir()
        Path("custom/sitecustomize.py").write_text(code)
        monkeypatch.setattr(sys, "path", [str(Path("custom").resolve()), *sys.path])

    return put


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_worker_that_dies_costs_its_file_only(customise: object) -> None:
    n_files = make_mixed(Path("lib"))
    [*convert("lib", "alone", model="tiny", n_workers=0)]
    make_audio("lib/a/deadly.wav")
    make_audio("lib/a/once.wav")
    assert callable(customise)
    customise(DEADLY)
    outcomes = [*convert("lib", "small", model="tiny", n_workers=2)]
    assert len(outcomes) == len({outcome.source for outcome in outcomes}) == n_files + 2
    (failed,) = (outcome for outcome in outcomes if outcome.status == "failed")
    assert failed.source == "a/deadly.wav"
    assert failed.error == "the process that did it ended with SIGKILL, twice"
    made = contents(Path("small"))
    assert len(made.pop("a/once.ncx")) > 100
    assert made == contents(Path("alone"))
    assert state_files(Path("small")) == [".jsonl"]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (BROKEN, "a worker could not start: ValueError: no such thing"),
        ("import os; os._exit(3)", "a worker could not start: exit code 3"),
    ],
)
def test_workers_that_cannot_start(customise: object, code: str, said: str) -> None:
    make_audio("lib/a.wav")
    assert callable(customise)
    customise(code)
    with pytest.raises(NcodecError, match=f"^{said}$"):
        [*convert("lib", "small", model="tiny", n_workers=1)]
    assert contents(Path("small")) == {}
    assert state_files(Path("small")) in ([], [".jsonl"])


def test_a_worker_has_one_thread_and_the_same_modules() -> None:
    environment = local._environment()
    assert environment["OMP_NUM_THREADS"] == environment["OPENBLAS_NUM_THREADS"] == "1"
    assert set(filter(None, sys.path)) <= set(environment["PYTHONPATH"].split(os.pathsep))


def test_cores_are_those_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 <= local.available_cores() <= (os.cpu_count() or 1)
    monkeypatch.setattr(Path, "read_text", lambda path: "150000 100000\n")
    assert local.available_cores() <= 2
    monkeypatch.setattr(Path, "read_text", lambda path: "max 100000\n")
    assert local.available_cores() >= 1


def test_engines() -> None:
    assert find_engine("local").run is local.run
    with pytest.raises(UsageError, match="^engine 'nosuch': is not there$"):
        find_engine("nosuch")


def item(name: str, size: int) -> Item:
    return Item(name, name, size, 0)


def test_bundles_hold_all_files_once() -> None:
    items = [item(str(n), n * 10_000) for n in range(1000)]
    bundles = make_bundles(items, 2, decode=False)
    assert sorted(i.size for bundle in bundles for i in bundle) == [i.size for i in items]
    large = [bundle for bundle in bundles if len(bundle) == 1 and bundle[0].size > 4 << 20]
    assert bundles[: len(large)] == large
    assert [bundle[0].size for bundle in large] == sorted((b[0].size for b in large), reverse=True)
    assert all(sum(i.size for i in bundle) <= 4 << 20 for bundle in bundles[len(large) :])


def test_few_files_are_shared_out() -> None:
    assert len(make_bundles([item(str(n), 1000) for n in range(80)], 2, decode=False)) >= 8
    assert len(make_bundles([item("a", 1000)], 8, decode=False)) == 1
    assert make_bundles([], 8, decode=False) == []
    many = make_bundles([item(str(n), 0) for n in range(10_000)], 2, decode=True)
    assert max(len(bundle) for bundle in many) == MAX_FILES
