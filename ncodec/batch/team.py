"""Handing out orders to the workers of any engine, and bearing their loss.

A worker has one order in hand, and gets the next when that is done. If it dies, what it had in
hand is given to others, file by file; a file with which several workers died has failed.
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
    Crew,
    Engine,
    Events,
    Hand,
    Messages,
)
from ncodec.batch.orders import Order, Part
from ncodec.batch.outcome import Item, Outcome
from ncodec.batch.work import Task, Worker
from ncodec.errors import NcodecError

_FALSE_STARTS = 2  # for each worker: so many may die, one after the other, before any is ready


def run(
    engine: Engine, orders: Sequence[Order], task: Task, crew: Crew, n_workers: int, events: Events
) -> Generator[Outcome, None, None]:
    """Do all files, and yield what came of each, as it is known.

    A worker that dies costs no more than the file that kills it. Closing the iterator, or an
    exception in it, ends all workers, and what they have in hand is discarded. Raises NcodecError
    where workers cannot start.
    """
    if n_workers == 0:
        worker = Worker(task)
        for order in orders:
            events.on_begin(order.items)
            for result in worker.run(order, events.on_progress):
                if isinstance(result, Outcome):
                    yield result
        return
    team = _Team(engine, orders, task, crew, events)
    try:
        yield from team.run(n_workers)
    finally:
        team.close()


@dataclass(slots=True)
class _Duty:
    """What a worker is doing."""

    number: int
    order: Order | None = None
    left: dict[str, Item] = field(default_factory=dict)  # of the order, by source
    is_ready: bool = False


class _Team:
    """Workers, and what is left to do."""

    def __init__(
        self, engine: Engine, orders: Sequence[Order], task: Task, crew: Crew, events: Events
    ) -> None:
        self._engine, self._task, self._crew, self._events = engine, task, crew, events
        self._left = deque(orders)
        self._duties: dict[Hand, _Duty] = {}
        self._idle: list[Hand] = []
        self._messages: Messages = queue.SimpleQueue()
        self._deaths: Counter[tuple[str, int]] = Counter()  # by source and stretch
        self._false_starts = 0
        self._parts: dict[str, dict[int, Part]] = {}  # of the files that were begun in stretches
        self._failed: set[str] = set()  # of these

    def run(self, n_workers: int) -> Iterator[Outcome]:
        """Do all that is left."""
        self._hire(n_workers)
        while self._left or any(duty.order for duty in self._duties.values()):
            hand, kind, content = self._messages.get()
            duty = self._duties[hand]
            if kind == RESULT:
                yield from self._take(duty, content)
            elif kind == PROGRESS:
                self._events.on_progress(*content)
            elif kind in (READY, END):
                duty.is_ready, duty.order, self._false_starts = True, None, 0
                self._idle.append(hand)
            elif kind == BROKEN:
                raise NcodecError(f"a worker could not start: {content}")
            elif kind == GONE:
                yield from self._mourn(hand, content, n_workers)
            self._hire(n_workers)
            while self._left and self._idle:
                self._hand_out(self._idle.pop(), self._left.popleft())

    def close(self) -> None:
        """End all workers; what they have in hand is discarded."""
        for hand in self._duties:
            hand.kill()

    def _hire(self, n_workers: int) -> None:
        """Start as many workers as there is something to do for."""
        n_busy = sum(1 for duty in self._duties.values() if duty.order)
        while len(self._duties) < min(n_workers, len(self._left) + n_busy):
            taken = {duty.number for duty in self._duties.values()}
            number = next(number for number in range(n_workers) if number not in taken)
            hand = self._engine.hire(self._task, self._crew, number, self._messages)
            self._duties[hand] = _Duty(number)

    def _hand_out(self, hand: Hand, order: Order) -> None:
        source = order.item.source
        if source in self._failed and order.stretch:
            self._idle.append(hand)
            return
        if source not in self._parts:
            self._events.on_begin(order.items)
        if order.stretch:
            self._parts.setdefault(source, {})
        duty = self._duties[hand]
        duty.order, duty.left = order, {item.source: item for item in order.items}
        hand.give(order)

    def _take(self, duty: _Duty, result: Outcome | Part) -> Iterator[Outcome]:
        """Take what came of a file, or of a stretch of one; with the last, the parts are joined."""
        order = duty.order
        if order is None:
            return
        source = result.source if isinstance(result, Outcome) else order.item.source
        duty.left.pop(source, None)
        if source in self._failed:
            return
        if isinstance(result, Outcome):
            if source in self._parts and result.status == "failed":
                self._failed.add(source)
            self._parts.pop(source, None)
            yield result
        elif order.stretch:
            parts = self._parts[source]
            parts[result.number] = result
            if len(parts) == order.stretch[1]:
                joined = Order(order.items, parts=tuple(parts[k] for k in sorted(parts)))
                self._left.appendleft(joined)

    def _mourn(self, hand: Hand, why: str, n_workers: int) -> Iterator[Outcome]:
        """Let others do what a worker had in hand when it died, each file by itself."""
        duty = self._duties.pop(hand)
        if hand in self._idle:
            self._idle.remove(hand)
        if not duty.is_ready:
            self._false_starts += 1
            if self._false_starts >= _FALSE_STARTS * n_workers:
                raise NcodecError(f"a worker could not start: {why}")
        if duty.order is None:
            return
        is_one = len(duty.left) == 1
        for item in reversed(list(duty.left.values())):
            again = duty.order if is_one else Order((item,))
            key = (item.source, again.stretch[0] if again.stretch else -1)
            self._deaths[key] += 1
            if is_one and self._deaths[key] >= self._engine.MOST_DEATHS:
                times = {2: "twice"}.get(self._deaths[key], f"{self._deaths[key]} times")
                why = f"its worker was lost {times}: {why}"
                failed = Outcome(
                    item.source, item.target, "failed", error=why, n_bytes_in=item.size
                )
                yield from self._take(duty, failed)
            else:
                self._left.appendleft(again)
