"""How many threads there are to work with."""

import os
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
