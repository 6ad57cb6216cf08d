"""Workers of a Ray cluster: two nodes, each with a raylet of its own, on this machine."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from trees import contents, convert, make_audio, make_mixed, state_files

from ncodec.batch import Outcome, work_units
from ncodec.batch.protocols import WorkerPool
from ncodec.errors import NcodecError, UsageError

pytest.importorskip("ray", reason="needs the extra ncodec[ray]")
pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="looks for workers in /proc"),
    pytest.mark.xdist_group("ray"),  # a second cluster would be taken for this one
]


@pytest.fixture(scope="module")
def nodes(cache: Path) -> Iterator[Any]:
    """A cluster of two nodes with one core each."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NCODEC_CACHE", str(cache))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        cluster = Cluster(
            initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
        )
        cluster.add_node(num_cpus=1)
        try:
            yield cluster
        finally:
            cluster.shutdown()


@pytest.fixture
def library() -> dict[str, bytes]:
    """Make a tree `lib`; return what becomes of it undisturbed."""
    make_mixed(Path("lib"))
    for number in range(40):
        make_audio(f"lib/clips/{number}.wav", 3000 + number // 8, seed=number)
    make_audio("lib/longest.flac", 11025 * 130, 2, 11025, artist="Bee")
    Path("lib/broken.wav").write_bytes(b"RIFF")
    statuses = [out.status for out in convert("lib", "alone", model="tiny", n_workers=0)]
    assert statuses.count("failed") == 1
    return contents(Path("alone"))


def check(outcomes: list[Outcome], expected: dict[str, bytes]) -> None:
    """Nothing is lost, nothing done twice."""
    sources = [outcome.source for outcome in outcomes]
    assert len(sources) == len(set(sources)) == len(expected) + 1
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    assert [outcome.source for outcome in failed] == ["broken.wav"], failed
    assert contents(Path("small")) == expected
    assert state_files(Path("small")) == [".jsonl"]


def actors() -> list[int]:
    """Return the processes in which actors of ours are at work."""
    found: list[int] = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if folder.name.isdigit() and b"ray::_Actor" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


def test_workers_on_both_nodes(
    nodes: Any, library: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work_units, "LARGE_BYTES", {False: 50_000, True: 1000})
    monkeypatch.setattr(work_units, "SEGMENT_BYTES", {False: 50_000, True: 50_000})
    told: list[int] = []
    n_actors = 0
    outcomes: list[Outcome] = []
    for outcome in convert(
        "lib", "small", model="tiny", engine="ray", address=nodes.address, on_progress=told.append
    ):
        outcomes.append(outcome)
        n_actors = max(n_actors, len(actors()))
    check(outcomes, library)
    assert n_actors == 2
    assert sum(told) == sum(outcome.n_bytes_in for outcome in outcomes)
    wait_for(lambda: not actors())
    again = convert("lib", "small", model="tiny", engine="ray", address=nodes.address)
    assert {out.status for out in again} == {"skipped", "failed"}


def test_a_worker_and_a_node_are_lost(nodes: Any, library: dict[str, bytes]) -> None:
    second = nodes.add_node(num_cpus=1)
    nodes.wait_for_nodes()
    outcomes: list[Outcome] = []
    killed: list[int] = []
    for outcome in convert(
        "lib", "small", model="tiny", engine="ray", address=nodes.address, n_workers=3
    ):
        outcomes.append(outcome)
        if len(outcomes) == 3:
            killed += actors()[:1]
            os.kill(killed[0], signal.SIGKILL)
        elif len(outcomes) == 6:
            nodes.remove_node(second, allow_graceful=False)  # kills its raylet, and what it began
    assert killed
    check(outcomes, library)


def test_a_file_that_kills_workers(
    nodes: Any, library: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_audio("lib/clips/deadly.wav", 3000)
    from ncodec.batch import ray

    class Deadly(ray._Actor):
        """Dies of one file."""

        def work(self, unit: Any) -> Iterator[Any]:
            if any("deadly" in item.source for item in unit.items):
                os.kill(os.getpid(), signal.SIGKILL)
            yield from super().work(unit)

    monkeypatch.setattr(ray, "_Actor", Deadly)
    outcomes = [*convert("lib", "small", model="tiny", engine="ray", address=nodes.address)]
    (deadly,) = (outcome for outcome in outcomes if "deadly" in outcome.source)
    assert deadly.status == "failed"
    assert deadly.error.startswith("its worker was lost 4 times: ")
    outcomes.remove(deadly)
    check(outcomes, library)


def test_ctrl_c(nodes: Any, library: dict[str, bytes]) -> None:
    command = (
        sys.executable, "-m", "ncodec", "batch", "-m", "tiny", "--engine", "ray", "--address",
        nodes.address, "lib", "small",
    )  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    small = Path("small")
    wait_for(lambda: small.exists() and len(contents(small)) > 3)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.endswith("ncodec: interrupted\n")
    assert contents(small).items() <= library.items()
    assert state_files(small) == [".jsonl"]
    check([*convert("lib", "small", model="tiny", n_workers=0)], library)


def test_workers_that_cannot_start(nodes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    make_audio("lib/a.wav")
    monkeypatch.setattr("ncodec.batch.settings.Settings.digest", "x", raising=False)
    from ncodec.batch import ray

    class Broken(ray._Actor):
        """Finds no models."""

        def start(self, task: Any) -> None:
            raise ValueError("no such thing")

    monkeypatch.setattr(ray, "_Actor", Broken)
    with pytest.raises(NcodecError, match="^a worker could not start: ValueError: no such thing$"):
        [*convert("lib", "small", model="tiny", engine="ray", address=nodes.address)]
    assert contents(Path("small")) == {}


@pytest.mark.parametrize(
    ("address", "said"),
    [("127.0.0.1:1", "cannot be joined: "), ("ray://localhost:10001", "expected HOST:PORT, of ")],
)
def test_a_cluster_that_is_not_there(address: str, said: str) -> None:
    make_audio("lib/a.wav")
    with pytest.raises(UsageError, match=f"^Ray cluster {address}: {said}"):
        [*convert("lib", "small", model="tiny", engine="ray", address=address)]
    assert not Path("small").exists()


@pytest.mark.parametrize(
    ("pool", "there", "expected"),
    [
        (WorkerPool(), {"CPU": 7.0}, 7),
        (WorkerPool(3), {"CPU": 7.0}, 3),
        (WorkerPool(gpu=0.25), {"CPU": 16.0, "GPU": 2.0}, 8),
        (WorkerPool(gpu=0.3), {"CPU": 16.0, "GPU": 1.0}, 3),
        (WorkerPool(gpu=2), {"CPU": 16.0, "GPU": 7.0}, 3),
    ],
)
def test_how_many_there_is_room_for(
    pool: WorkerPool, there: dict[str, float], expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ncodec.batch import ray

    monkeypatch.setattr("ray.cluster_resources", lambda: there)
    assert ray._count_workers(pool) == expected


def test_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    from ncodec.batch import ray

    monkeypatch.setattr("ray.cluster_resources", lambda: {"CPU": 4.0})
    with pytest.raises(UsageError, match="^Ray cluster: has 4 cores and 0 GPUs"):
        ray._count_workers(WorkerPool(gpu=1))


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, "nothing happens"
        time.sleep(0.02)
