"""Handing out units to the workers of any engine, and bearing their loss.

A worker has one unit in handle, and gets the next when that is done. If it dies, what it had in
handle is given to others, file by file; a file with which several workers died has failed.
"""

import queue
from collections import Counter, deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field

from ncodec.batch.engine import (
    BROKEN,
    END,
    GONE,
    PROGRESS,
    READY,
    RESULT,
    Engine,
    Events,
    Messages,
    WorkerHandle,
    WorkerPool,
)
from ncodec.batch.outcome import Item, Outcome
from ncodec.batch.work_units import SegmentResult, WorkUnit
from ncodec.batch.worker import Task, Worker
from ncodec.errors import NcodecError

_MAX_FAILED_STARTS = 2  # for each worker: so many may die, one after the other, before any is ready


def run(
    engine: Engine,
    units: Sequence[WorkUnit],
    task: Task,
    pool: WorkerPool,
    n_workers: int,
    events: Events,
) -> Generator[Outcome, None, None]:
    """Do all files, and yield what came of each, as it is known.

    A worker that dies costs no more than the file that kills it. Closing the iterator, or an
    exception in it, ends all workers, and what they have in handle is discarded. Raises NcodecError
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

    number: int
    unit: WorkUnit | None = None
    left: dict[str, Item] = field(default_factory=dict)  # of the unit, by source
    is_ready: bool = False


class Scheduler:
    """Workers, and what is left to do."""

    def __init__(
        self,
        engine: Engine,
        units: Sequence[WorkUnit],
        task: Task,
        pool: WorkerPool,
        events: Events,
    ) -> None:
        self._engine, self._task, self._pool, self._events = engine, task, pool, events
        self._left = deque(units)
        self._assignments: dict[WorkerHandle, Assignment] = {}
        self._idle: list[WorkerHandle] = []
        self._messages: Messages = queue.SimpleQueue()
        self._losses: Counter[tuple[str, int]] = Counter()  # by source and segment
        self._failed_starts = 0
        self._segments: dict[
            str, dict[int, SegmentResult]
        ] = {}  # of the files that were begun in segments
        self._failed: set[str] = set()  # of these

    def run(self, n_workers: int) -> Iterator[Outcome]:
        """Do all that is left."""
        self._spawn(n_workers)
        while self._left or any(assignment.unit for assignment in self._assignments.values()):
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
        """End all workers; what they have in handle is discarded."""
        for handle in self._assignments:
            handle.kill()

    def _spawn(self, n_workers: int) -> None:
        """Start as many workers as there is something to do for."""
        n_busy = sum(1 for assignment in self._assignments.values() if assignment.unit)
        while len(self._assignments) < min(n_workers, len(self._left) + n_busy):
            taken = {assignment.number for assignment in self._assignments.values()}
            number = next(number for number in range(n_workers) if number not in taken)
            handle = self._engine.spawn(self._task, self._pool, number, self._messages)
            self._assignments[handle] = Assignment(number)

    def _assign(self, handle: WorkerHandle, unit: WorkUnit) -> None:
        source = unit.item.source
        if source in self._failed and unit.segment:
            self._idle.append(handle)
            return
        if source not in self._segments:
            self._events.on_begin(unit.items)
        if unit.segment:
            self._segments.setdefault(source, {})
        assignment = self._assignments[handle]
        assignment.unit, assignment.left = unit, {item.source: item for item in unit.items}
        handle.give(unit)

    def _take(self, assignment: Assignment, result: Outcome | SegmentResult) -> Iterator[Outcome]:
        """Take a result; the last segment of a file lets them be joined."""
        unit = assignment.unit
        if unit is None:
            return
        source = result.source if isinstance(result, Outcome) else unit.item.source
        assignment.left.pop(source, None)
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
                joined = WorkUnit(unit.items, results=tuple(done[k] for k in sorted(done)))
                self._left.appendleft(joined)

    def _on_worker_lost(self, handle: WorkerHandle, why: str, n_workers: int) -> Iterator[Outcome]:
        """Let others do what a worker had in handle when it died, each file by itself."""
        assignment = self._assignments.pop(handle)
        if handle in self._idle:
            self._idle.remove(handle)
        if not assignment.is_ready:
            self._failed_starts += 1
            if self._failed_starts >= _MAX_FAILED_STARTS * n_workers:
                raise NcodecError(f"a worker could not start: {why}")
        if assignment.unit is None:
            return
        is_one = len(assignment.left) == 1
        for item in reversed(list(assignment.left.values())):
            again = assignment.unit if is_one else WorkUnit((item,))
            key = (item.source, again.segment[0] if again.segment else -1)
            self._losses[key] += 1
            if is_one and self._losses[key] >= self._engine.MAX_LOSSES:
                times = {2: "twice"}.get(self._losses[key], f"{self._losses[key]} times")
                why = f"its worker was lost {times}: {why}"
                failed = Outcome(
                    item.source, item.target, "failed", error=why, n_bytes_in=item.size
                )
                yield from self._take(assignment, failed)
            else:
                self._left.appendleft(again)
