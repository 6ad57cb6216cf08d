"""Giving work to the workers of any engine, and recovering from their loss.

           assign            READY, END: idle again
    units --------> worker ------------------------> idle
      ^               |
      |               +-- Outcome ----------------> yielded
      |               +-- SegmentResult ---+
      +-- join unit <----- the last of a file
      +-- what was left <-- GONE

A worker has one unit at a time, and gets the next when that is done. If it is lost, what is left of
its unit goes to others, file by file; a file with which several workers were lost has failed.
"""

import queue
from collections import Counter, deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace

from ncodec.batch.protocols import (
    BROKEN,
    END,
    GONE,
    PROGRESS,
    READY,
    RESULT,
    Engine,
    Events,
    Messages,
    Task,
    WorkerHandle,
    WorkerPool,
)
from ncodec.batch.work_units import Item, Outcome, SegmentResult, WorkUnit
from ncodec.batch.worker import Worker
from ncodec.errors import NcodecError

_MAX_FAILED_STARTS = 2  # in a row, times the number of workers, before any is ready


def run(
    engine: Engine, units: Sequence[WorkUnit], task: Task, pool: WorkerPool, n_workers: int,
    events: Events,
) -> Generator[Outcome, None, None]:  # fmt: skip
    """Do all units, and yield the outcome of each file as soon as it is known.

    A worker that is lost costs no more than the file that caused it. Closing the iterator, or an
    exception in it, ends all workers, and what they were doing is discarded. Raises NcodecError
    where workers cannot start.
    """
    if n_workers == 0:
        worker = Worker(task)
        for unit in units:
            events.on_begin(unit.items)
            for result in worker.run(unit, events.on_progress):
                if isinstance(result, Outcome):
                    yield result
        return
    scheduler = Scheduler(engine, units, task, pool, events)
    try:
        yield from scheduler.run(n_workers)
    finally:
        scheduler.close()


@dataclass(slots=True)
class Assignment:
    """What a worker is doing."""

    number: int  # of the worker
    unit: WorkUnit | None = None
    left: dict[str, Item] = field(default_factory=dict)  # of the unit, by source
    is_ready: bool = False  # it has started


class Scheduler:
    """Workers, and what is left to do."""

    def __init__(
        self, engine: Engine, units: Sequence[WorkUnit], task: Task, pool: WorkerPool,
        events: Events,
    ) -> None:  # fmt: skip
        self._engine, self._task, self._pool, self._events = engine, task, pool, events
        self._left = deque(units)
        self._assignments: dict[WorkerHandle, Assignment] = {}
        self._idle: list[WorkerHandle] = []
        self._messages: Messages = queue.SimpleQueue()
        self._losses: Counter[tuple[str, int]] = Counter()  # of workers, by source and segment
        self._failed_starts = 0
        # Files of which a segment was begun. An entry goes when the file has its outcome.
        self._segments: dict[str, dict[int, SegmentResult]] = {}
        self._failed: set[str] = set()  # files of which a segment failed: the others are dropped

    def run(self, n_workers: int) -> Iterator[Outcome]:
        """Do all that is left."""
        self._spawn(n_workers)
        # Not done while a worker is busy: its last segment may add a unit, and so may its loss.
        while self._left or any(one.unit for one in self._assignments.values()):
            handle, kind, content = self._messages.get()
            assignment = self._assignments[handle]
            if kind == RESULT:
                yield from self._take(assignment, content)
            elif kind == PROGRESS:
                self._events.on_progress(*content)
            elif kind in (READY, END):
                assignment.is_ready, assignment.unit, self._failed_starts = True, None, 0
                self._idle.append(handle)
            elif kind == BROKEN:
                raise NcodecError(f"a worker could not start: {content}")
            elif kind == GONE:
                yield from self._on_worker_lost(handle, content, n_workers)
            self._spawn(n_workers)
            while self._left and self._idle:
                self._assign(self._idle.pop(), self._left.popleft())

    def close(self) -> None:
        """End all workers; what they were doing is discarded."""
        for handle in self._assignments:
            handle.kill()

    def _spawn(self, n_workers: int) -> None:
        """Start as many workers as there is work for; lost ones are replaced."""
        n_busy = sum(1 for one in self._assignments.values() if one.unit)
        while len(self._assignments) < min(n_workers, len(self._left) + n_busy):
            # Workers that share a GPU find it by their number, so the lowest free one is used.
            taken = {one.number for one in self._assignments.values()}
            number = next(number for number in range(n_workers) if number not in taken)
            handle = self._engine.spawn(self._task, self._pool, number, self._messages)
            self._assignments[handle] = Assignment(number)

    def _assign(self, handle: WorkerHandle, unit: WorkUnit) -> None:
        source = unit.item.source
        if source in self._failed and unit.segment:
            self._idle.append(handle)
            return
        # The log and the progress count a file as begun once, not with every segment.
        if source not in self._segments:
            self._events.on_begin(unit.items)
        if unit.segment:
            self._segments.setdefault(source, {})
        assignment = self._assignments[handle]
        assignment.unit, assignment.left = unit, {item.source: item for item in unit.items}
        handle.give(unit)

    def _take(self, assignment: Assignment, result: Outcome | SegmentResult) -> Iterator[Outcome]:
        """Take the outcome of a file, or the result of a segment; after the last, join them."""
        unit = assignment.unit
        if unit is None:
            return
        source = result.source if isinstance(result, Outcome) else unit.item.source
        assignment.left.pop(source, None)
        # Another segment failed while this one was at work: the file has its outcome already.
        if source in self._failed:
            return
        if isinstance(result, Outcome):
            if source in self._segments and result.status == "failed":
                self._failed.add(source)
            self._segments.pop(source, None)
            yield result
        elif unit.segment:
            done = self._segments[source]
            done[result.number] = result
            if len(done) == unit.segment[1]:
                # Segments come in any order, and are joined in that of the file: next of all, as
                # their results take memory until then.
                joined = WorkUnit(unit.items, results=tuple(done[k] for k in sorted(done)))
                self._left.appendleft(joined)

    def _on_worker_lost(self, handle: WorkerHandle, why: str, n_workers: int) -> Iterator[Outcome]:
        """Queue again what a lost worker had left, each file by itself."""
        lost = self._assignments.pop(handle)
        if handle in self._idle:
            self._idle.remove(handle)
        if not lost.is_ready:
            self._failed_starts += 1
            if self._failed_starts >= _MAX_FAILED_STARTS * n_workers:
                raise NcodecError(f"a worker could not start: {why}")
        if lost.unit is None:
            return
        first = next(iter(lost.left.values()), None)
        if lost.unit.is_album and first is not None:
            self._losses[first.source, -1] += 1
            if self._losses[first.source, -1] < self._engine.MAX_LOSSES:
                self._left.appendleft(replace(lost.unit, items=tuple(lost.left.values())))
                return
        # Of several files, it is not known which one killed the worker. Each becomes a unit of its
        # own, so the next loss tells: a file fails only if it was the last one left.
        is_one = len(lost.left) == 1
        for item in reversed(list(lost.left.values())):
            again = lost.unit if is_one else WorkUnit((item,))
            key = (item.source, again.segment[0] if again.segment else -1)
            self._losses[key] += 1
            if is_one and self._losses[key] >= self._engine.MAX_LOSSES:
                times = {2: "twice"}.get(self._losses[key], f"{self._losses[key]} times")
                why = f"its worker was lost {times}: {why}"
                failed = Outcome(
                    item.source, item.target, "failed", error=why, n_bytes_in=item.size
                )
                yield from self._take(lost, failed)
            else:
                self._left.appendleft(again)
