"""A run from its plan to its last outcome."""

import contextlib
import os
import re
import secrets
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from datetime import UTC, datetime
from importlib import import_module

from ncodec.batch import scheduler
from ncodec.batch.local_storage import LocalStorage
from ncodec.batch.plan import FileOptions, make_plan
from ncodec.batch.protocols import Engine, Events, Task, WorkerPool
from ncodec.batch.settings import COPY, AudioFormat, decode_settings, encode_settings
from ncodec.batch.state import Journal
from ncodec.batch.storage import Storage
from ncodec.batch.work_units import Item, Outcome, make_work_units
from ncodec.encoding.options import EncodeOptions
from ncodec.errors import UsageError

ENGINES = ("local", "ray")  # modules of ncodec.batch
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


class Conversion:
    """A tree that is to be converted; the parameters are those of `ncodec.batch.convert`.

    Raises UsageError or ModelMissing before anything is written.

    Attributes:
        plan: what is to be done, found when this was made.
        settings: how.
        n_workers: at most; None before the run.
    """

    def __init__(
        self,
        src: str | os.PathLike[str],
        dst: str | os.PathLike[str],
        coding: EncodeOptions | AudioFormat | None = None,
        files: FileOptions | None = None,
        pool: WorkerPool | None = None,
    ) -> None:
        self.source, self.target = open_storage(src), open_storage(dst)
        self._files, self._pool = files or FileOptions(), pool or WorkerPool()
        if isinstance(coding, AudioFormat):
            if self._files.gapless:
                raise UsageError("gapless: is for encoding")
            self.settings = decode_settings(coding)
        else:
            self.settings = encode_settings(coding or EncodeOptions(), gapless=self._files.gapless)
        self._engine = find_engine(self._pool.engine)
        self.n_workers: int | None = None
        self.plan = make_plan(self.source, self.target, self.settings, self._files)

    def outcomes(
        self, on_progress: Callable[[int], None] = lambda n_bytes: None
    ) -> Generator[Outcome, None, None]:
        """Do all of it, and yield the outcome of each file as soon as it is known.

        on_progress  called with the number of bytes of the sources that were just done: in all
                     those of the plan. They are taken back where a file must be done again

        Closing the iterator ends the run: unfinished files are discarded.
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
                self.source, self.target, self.settings, work, self._files.verify,
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


def open_storage(url: str | os.PathLike[str]) -> Storage:
    """Return the tree at a path or URL. Raises UsageError for a URL that cannot be read."""
    text = os.fspath(url)
    if not text:
        raise UsageError("a folder without a name")
    if text.startswith("file://"):
        text = text.removeprefix("file://")
    elif _URL.match(text):
        from ncodec.batch.remote_storage import RemoteStorage

        return RemoteStorage(text)
    return LocalStorage(text)


def find_engine(name: str) -> Engine:
    """Return the engine of that name. Raises UsageError."""
    if name not in ENGINES:
        raise UsageError(f"engine {name!r}: expected one of {', '.join(ENGINES)}")
    try:
        return import_module(f"ncodec.batch.{name}")  # pyright: ignore[reportReturnType]
    except ImportError as error:
        raise UsageError(
            f"engine {name!r}: needs {error.name}: pip install 'ncodec[{name}]'"
        ) from None
