"""A run from its plan to its last outcome."""

import contextlib
import secrets
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from datetime import UTC, datetime

from ncodec.batch import scheduler
from ncodec.batch.engine import Events, WorkerPool, find_engine
from ncodec.batch.outcome import Item, Outcome
from ncodec.batch.plan import Options, make_plan
from ncodec.batch.settings import COPY, Settings
from ncodec.batch.state import Journal
from ncodec.batch.storage import Storage
from ncodec.batch.work_units import make_work_units
from ncodec.batch.worker import Task


class Conversion:
    """A tree that is to be converted.

    Raises UsageError, before anything is written, where that cannot be.

    Attributes:
        plan: what is to be done, as it was found when this was made.
        settings: how.
        n_workers: at most; None before the run.
    """

    def __init__(
        self, source: Storage, target: Storage, settings: Settings,
        options: Options | None = None, *, pool: WorkerPool | None = None, engine: str = "local",
        verify: bool = False,
    ) -> None:  # fmt: skip
        self.source, self.target, self.settings = source, target, settings
        self._verify = verify
        self._pool = pool or WorkerPool()
        self._engine = find_engine(engine)
        self.n_workers: int | None = None
        self.plan = make_plan(source, target, settings, options or Options())

    def outcomes(
        self, on_progress: Callable[[int], None] = lambda n_bytes: None
    ) -> Generator[Outcome, None, None]:
        """Do all of it, and yield what came of each file, as soon as it is known.

        on_progress  called with the number of bytes of the sources that were just done: in all
                     those of the plan. They are taken back where a file must be done again

        Closing the iterator ends the run: what is in hand is discarded.
        """
        for problem in self.plan.problems:
            yield Outcome(
                problem.source, problem.target, "failed", problem.why, n_bytes_in=problem.size
            )
        for record in self.plan.done:
            yield Outcome(
                record.source, record.target, "skipped", seconds=record.seconds,
                n_bytes_in=record.size, n_bytes_out=record.target_size,
            )  # fmt: skip
        if self.plan.items:
            yield from self._run(_Progress(on_progress))

    def _run(self, progress: "_Progress") -> Generator[Outcome, None, None]:
        is_shared = self.source.is_shared and self.target.is_shared
        with self._engine.open_pool(self._pool) as n_workers:
            self.n_workers = n_workers if is_shared else 0
            yield from self._worked(self.n_workers, progress)

    def _worked(self, n_workers: int, progress: "_Progress") -> Generator[Outcome, None, None]:
        items = {item.source: item for item in self.plan.items}
        units = make_work_units(self.plan.items, n_workers, decode=self.settings.decode)
        started = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        run = f"{started}-{secrets.token_hex(4)}"
        with self.target.workspace(run) as work, Journal(self.target.open_log(run)) as journal:
            task = Task(
                self.source, self.target, self.settings, work, self._verify,
                n_threads=max(1, n_workers // len(units)) if self._engine.IS_ONE_MACHINE else 1,
                device="cuda" if self._pool.gpu > 0 else "cpu",
            )  # fmt: skip

            def begin(some: Sequence[Item]) -> None:
                journal.begin(some)
                progress.begin(some)

            events = Events(begin, progress.add)
            with contextlib.closing(
                scheduler.run(self._engine, units, task, self._pool, n_workers, events)
            ) as outcomes:
                for outcome in outcomes:
                    item = items[outcome.source]
                    if outcome.status != "failed":
                        digest = COPY if item.is_copy else self.settings.digest
                        journal.note(item, outcome, digest)
                    progress.end(item)
                    yield outcome


class _Progress:
    """Bytes of the sources that are done, file by file."""

    def __init__(self, on_progress: Callable[[int], None]) -> None:
        self._done: Counter[str] = Counter()
        self._on_progress = on_progress

    def begin(self, items: Sequence[Item]) -> None:
        """Files are begun, perhaps again."""
        for item in items:
            self.add(item.source, -self._done[item.source])

    def add(self, source: str, n_bytes: int) -> None:
        """So much more of a file is done."""
        self._done[source] += n_bytes
        if n_bytes:
            self._on_progress(n_bytes)

    def end(self, item: Item) -> None:
        """All of a file is done."""
        self.add(item.source, item.size - self._done[item.source])
        del self._done[item.source]
