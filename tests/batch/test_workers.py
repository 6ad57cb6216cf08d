"""Workers in processes of their own, alive and dead."""

import os
import sys
from pathlib import Path

import pytest
from trees import contents, convert, make_audio, make_mixed, state_files

from ncodec.batch import local
from ncodec.batch.conversion import find_engine
from ncodec.batch.protocols import WorkerPool
from ncodec.batch.work_units import MAX_FILES, Item, WorkUnit, make_work_units
from ncodec.errors import NcodecError, UsageError

# Read by every Python that starts with this folder in its path: the workers.
DEADLY = """
import os
from pathlib import Path
from ncodec.batch.worker import Worker

prepare = Worker._begin

def die(self, job, on_progress):
    name = job.item.source
    if "deadly" in name or ("once" in name and not Path("died").exists()):
        Path("died").touch()
        os.kill(os.getpid(), 9)
    prepare(self, job, on_progress)

Worker._begin = die
"""
DEADLY_SEGMENTS = """
import os
from pathlib import Path
from ncodec.batch.worker import Worker

segment = Worker._segment

def die(self, item, number, count, on_progress):
    mark = Path(f"died of {Path(item.source).stem} {number}")
    if number == 1 and ("deadly" in item.source or not mark.exists()):
        mark.touch()
        os.kill(os.getpid(), 9)
    return segment(self, item, number, count, on_progress)

Worker._segment = die
"""
BROKEN = """
from ncodec.batch.worker import Worker

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
    assert failed.error == "its worker was lost twice: SIGKILL"
    made = contents(Path("small"))
    assert len(made.pop("a/once.ncx")) > 100
    assert made == contents(Path("alone"))
    assert state_files(Path("small")) == [".jsonl"]


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_worker_that_dies_of_a_segment(
    customise: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ncodec.batch.work_units.LARGE_BYTES", {False: 100_000, True: 1000})
    monkeypatch.setattr("ncodec.batch.work_units.SEGMENT_BYTES", {False: 100_000, True: 100_000})
    make_audio("lib/long.wav", 8000 * 90)
    [*convert("lib", "alone", model="tiny", n_workers=0)]
    make_audio("lib/deadly.flac", 8000 * 90)
    assert callable(customise)
    customise(DEADLY_SEGMENTS)
    outcomes = [*convert("lib", "small", model="tiny", n_workers=2)]
    assert sorted((outcome.source, outcome.error) for outcome in outcomes) == [
        ("deadly.flac", "its worker was lost twice: SIGKILL"), ("long.wav", ""),
    ]  # fmt: skip
    assert Path("died of long 1").exists()
    assert contents(Path("small")) == contents(Path("alone"))
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


def test_engines() -> None:
    assert find_engine("local") is local
    with pytest.raises(UsageError, match="^engine 'nosuch': expected one of local, ray$"):
        find_engine("nosuch")


def test_an_engine_that_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "ncodec.batch.ray", raising=False)
    with pytest.raises(UsageError, match=r"^engine 'ray': needs ray: pip install 'ncodec\[ray\]'$"):
        find_engine("ray")


def test_shares_of_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[str] = []
    monkeypatch.setattr(local, "_gpus", lambda: ["3", "5"])
    monkeypatch.setattr(
        local,
        "_ProcessHandle",
        lambda _, environment, __: given.append(environment["CUDA_VISIBLE_DEVICES"]),
    )
    for pool, expected in (
        (WorkerPool(gpu=0.5), ["3", "3", "5", "5"]),
        (WorkerPool(3, gpu=0.5), ["3", "3", "5"]),
        (WorkerPool(gpu=1), ["3", "5"]),
        (WorkerPool(gpu=0.3), ["3", "3", "3", "5", "5", "5"]),
    ):
        with local.open_pool(pool) as n_workers:
            for number in range(n_workers):
                local.spawn(None, pool, number, None)  # type: ignore[arg-type]
        assert given == expected
        given.clear()


def test_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    make_audio("lib/a.wav")
    monkeypatch.setattr(local, "_gpus", list)
    with pytest.raises(UsageError, match=r"^0.5 of a GPU for each worker: there are 0$"):
        [*convert("lib", "small", model="tiny", gpu=0.5)]
    assert not Path("small").exists()


def item(name: str, size: int) -> Item:
    return Item(name, name, size, 0)


def test_orders_hold_all_files_once() -> None:
    items = [item(str(n), n * 10_000) for n in range(1000)]
    units = make_work_units(items, 2, decode=False)
    assert sorted(i.size for unit in units for i in unit.items) == [i.size for i in items]
    large = [unit for unit in units if len(unit.items) == 1 and unit.item.size > 4 << 20]
    assert units[: len(large)] == large
    sizes = [unit.item.size for unit in large]
    assert sizes == sorted(sizes, reverse=True)
    assert all(sum(i.size for i in unit.items) <= 4 << 20 for unit in units[len(large) :])


def test_few_files_are_shared_out() -> None:
    assert len(make_work_units([item(str(n), 1000) for n in range(80)], 2, decode=False)) >= 8
    assert make_work_units([item("a", 1000)], 8, decode=False) == [WorkUnit((item("a", 1000),))]
    assert make_work_units([], 8, decode=False) == []
    many = make_work_units([item(str(n), 0) for n in range(10_000)], 2, decode=True)
    assert max(len(unit.items) for unit in many) == MAX_FILES
