"""How many threads there are to work with."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from ncodec.native import threads


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight, without a container."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(threads, "_CGROUP", Path("/nonexistent"))


@pytest.mark.quick
@pytest.mark.usefixtures("cores")
@pytest.mark.parametrize(
    ("files", "count"),
    [
        ({}, 8),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "10000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu.max": "0 0\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
    ],
)
def test_available_are_what_a_container_pays_for(
    files: dict[str, str], count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(threads, "_CGROUP", tmp_path)
    assert threads.available() == count


@pytest.mark.usefixtures("cores")
@pytest.mark.parametrize(("value", "count"), [("3", 3), ("", 8), ("0", 8), ("2,1", 8), ("all", 8)])
def test_the_environment_may_say_how_many(
    value: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert threads.n_threads() == count


def test_torch_heeds_what_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # comes back after the test
    before = torch.get_num_threads()
    try:
        threads.set_n_threads(3)
        assert threads.n_threads() == torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def squares(n: int, fails_at: int | None = None) -> Iterator[Callable[[], int]]:
    for i in range(n):
        if i == fails_at:
            raise ValueError(str(i))
        yield lambda i=i: i * i


@pytest.mark.quick
@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("n", [0, 1, 2, 7])
def test_results_come_in_order(n: int, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", str(count))
    assert list(threads.in_order(squares(n))) == [i * i for i in range(n)]


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("fails_at", [0, 1, 4])
def test_an_error_of_the_source_comes_after_what_was_made(
    fails_at: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", str(count))
    found = []
    with pytest.raises(ValueError, match=str(fails_at)):
        found.extend(threads.in_order(squares(7, fails_at)))
    given = threads.in_order(squares(7, fails_at))
    assert [next(given) for _ in range(fails_at)] == [i * i for i in range(fails_at)]


def test_tasks_run_side_by_side_and_few_are_made_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    meet, made = threading.Barrier(2, timeout=60), []

    def tasks() -> Iterator[Callable[[], int]]:
        for number in range(8):
            made.append(number)
            yield meet.wait  # returns only when another thread waits too

    results = threads.in_order(tasks())
    next(results)
    assert len(made) <= 4
    assert len(list(results)) == 7


def test_an_error_of_a_task_ends_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    results = threads.in_order([lambda: 1, lambda: 1 // 0, *[lambda: 2] * 9])
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert list(results) == []
