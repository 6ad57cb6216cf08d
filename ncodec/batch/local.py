"""The engine of one machine: a process for every worker, with one thread each.

A worker has one bundle in hand, and gets the next when that is done. If it dies, what it had in
hand is given to others, file by file; a file with which two workers died has failed.
"""

import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections import Counter, deque
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

from ncodec.batch.bundles import Bundle
from ncodec.batch.engine import Crew, Events
from ncodec.batch.outcome import Item, Outcome
from ncodec.batch.process import BROKEN, END, OUTCOME, PROGRESS, READY
from ncodec.batch.work import Task, Worker
from ncodec.errors import NcodecError

_GONE = "gone"
_MOST_DEATHS = 2  # of workers, with one file in hand, or one after the other before they are ready
_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)


def count_workers(crew: Crew) -> int:
    """See Engine."""
    return available_cores() if crew.n_workers is None else crew.n_workers


def run(
    bundles: Sequence[Bundle], task: Task, crew: Crew, events: Events
) -> Generator[Outcome, None, None]:
    """See Run. What no other process can see, this one does itself."""
    n_workers = min(count_workers(crew), len(bundles))
    if n_workers == 0 or not (task.source.is_shared and task.target.is_shared):
        worker = Worker(task)
        for bundle in bundles:
            events.on_begin(bundle)
            yield from worker.run(bundle, events.on_progress)
        return
    team = _Team(bundles, task, events)
    try:
        yield from team.run(n_workers)
    finally:
        team.close()


class _Hand:
    """A worker's process, and what it has in hand."""

    def __init__(self, task: Task, messages: "queue.SimpleQueue[tuple[_Hand, str, Any]]") -> None:
        self.items: dict[str, Item] = {}
        self.is_ready = False
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", "from ncodec.batch.process import main; main()"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=_environment(),
            # Not to be interrupted with this process, which sees to that itself.
            process_group=0 if os.name == "posix" else None,
        )  # fmt: skip
        self.give(task)
        threading.Thread(target=self._listen, args=(messages,), daemon=True).start()

    def give(self, order: object) -> None:
        """Send something; a worker that is gone will be known to be."""
        assert self._process.stdin is not None  # noqa: S101 # a pipe
        with contextlib.suppress(OSError):
            pickle.dump(order, self._process.stdin)
            self._process.stdin.flush()

    def _listen(self, messages: "queue.SimpleQueue[tuple[_Hand, str, Any]]") -> None:
        assert self._process.stdout is not None  # noqa: S101 # a pipe
        ends = (EOFError, OSError, pickle.UnpicklingError)
        with self._process.stdout as stdout, contextlib.suppress(*ends):
            while True:
                messages.put((self, *pickle.load(stdout)))
        messages.put((self, _GONE, None))

    def end(self) -> str:
        """Return how a process ended that is gone."""
        code = self._process.wait()
        if code >= 0:
            return f"exit code {code}"
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
        return f"signal {-code}"

    def kill(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.wait()
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):  # of what is still to be written
                self._process.stdin.close()


class _Team:
    """Workers, and what is left to do."""

    def __init__(self, bundles: Sequence[Bundle], task: Task, events: Events) -> None:
        self._task, self._events = task, events
        self._left = deque(bundles)
        self._hands: list[_Hand] = []
        self._idle: list[_Hand] = []
        self._messages: queue.SimpleQueue[tuple[_Hand, str, Any]] = queue.SimpleQueue()
        self._deaths: Counter[str] = Counter()
        self._false_starts = 0

    def run(self, n_workers: int) -> Iterator[Outcome]:
        """Do all that is left."""
        self._hire(n_workers)
        while self._left or any(hand.items for hand in self._hands):
            hand, kind, content = self._messages.get()
            if kind == OUTCOME:
                hand.items.pop(content.source, None)
                yield content
            elif kind == PROGRESS:
                self._events.on_progress(*content)
            elif kind in (READY, END):
                hand.is_ready, self._false_starts = True, 0
                self._idle.append(hand)
            elif kind == BROKEN:
                raise NcodecError(f"a worker could not start: {content}")
            elif kind == _GONE:
                yield from self._mourn(hand)
                self._hire(n_workers)
            while self._left and self._idle:
                self._hand_out(self._idle.pop(), self._left.popleft())

    def close(self) -> None:
        """End all workers; what they have in hand is discarded."""
        for hand in self._hands:
            hand.kill()

    def _hire(self, n_workers: int) -> None:
        """Start as many workers as there is something to do for."""
        while len(self._hands) < min(n_workers, len(self._left) + self._n_busy()):
            self._hands.append(_Hand(self._task, self._messages))

    def _n_busy(self) -> int:
        return sum(1 for hand in self._hands if hand.items)

    def _hand_out(self, hand: _Hand, bundle: Bundle) -> None:
        self._events.on_begin(bundle)
        hand.items = {item.source: item for item in bundle}
        hand.give(bundle)

    def _mourn(self, hand: _Hand) -> Iterator[Outcome]:
        """Let others do what a worker had in hand when it died, each file by itself."""
        self._hands.remove(hand)
        if hand in self._idle:
            self._idle.remove(hand)
        how = hand.end()
        if not hand.is_ready:
            self._false_starts += 1
            if self._false_starts >= _MOST_DEATHS:
                raise NcodecError(f"a worker could not start: {how}")
        is_alone = len(hand.items) == 1
        for item in reversed(hand.items.values()):
            self._deaths[item.source] += 1
            if is_alone and self._deaths[item.source] >= _MOST_DEATHS:
                why = f"the process that did it ended with {how}, twice"
                yield Outcome(item.source, item.target, "failed", error=why, n_bytes_in=item.size)
            else:
                self._left.appendleft((item,))
        hand.items = {}


def available_cores() -> int:
    """Return how many cores this process may keep busy: those it has, or its container pays for."""
    n_cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        n_cores = len(os.sched_getaffinity(0))
    with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        n_cores = min(n_cores, max(1, round(int(quota) / int(period))))
    return n_cores


def _environment() -> dict[str, str]:
    """Return that of a worker: of one thread, and with the modules of this process."""
    path = os.pathsep.join(folder or str(Path.cwd()) for folder in sys.path)
    return {**os.environ, **_ONE_THREAD, "PYTHONPATH": path}
