"""What a worker does with the files that it is given. Every engine runs this."""

import hashlib
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from ncodec.batch.albums import ALONE
from ncodec.batch.protocols import AlbumConverter, Converter, Result, SegmentConverter, Task
from ncodec.batch.storage import StagedFile
from ncodec.batch.work_units import Item, Outcome, SegmentResult, Status, WorkUnit
from ncodec.errors import NcodecError

AT_ONCE = 64  # short files that are computed together
_REPORT_S = 0.25  # between two reports of how far a file is


@dataclass(slots=True)
class _Job:
    """A file that is being done."""

    item: Item
    elapsed_s: float = 0.0
    sha256: str = ""
    prepared: Any = None
    outcome: Outcome | None = None
    started: float = field(default_factory=time.perf_counter)

    def stop(self) -> None:
        """Stop the clock, until `start`."""
        self.elapsed_s += time.perf_counter() - self.started

    def start(self) -> None:
        """Start the clock."""
        self.started = time.perf_counter()


class Worker:
    """Converts files, with models that are loaded once."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._converter = _converter_for(task)
        task.target.enter(task.work)

    def run(
        self, unit: WorkUnit, on_progress: Callable[[str, int], None]
    ) -> Iterator[Outcome | SegmentResult]:
        """Do a unit, and yield the outcome of each file, in any order, or the result of a segment.

        on_progress  called now and then with a source, and how many of its bytes were just done
        """
        if unit.segment:
            yield self._segment(unit.item, *unit.segment, on_progress)
        elif unit.results:
            yield self._join(unit.item, unit.results)
        elif unit.is_album:
            yield from self._album(unit.items, on_progress)
        elif self._task.settings.gapless:
            for outcome in self._files(unit.items, on_progress):
                is_copy = outcome.status == "copied"
                remarks = outcome.remarks if is_copy else (*outcome.remarks, ALONE)
                yield replace(outcome, remarks=remarks)
        else:
            yield from self._files(unit.items, on_progress)

    def _files(
        self, items: Sequence[Item], on_progress: Callable[[str, int], None]
    ) -> Iterator[Outcome]:
        waiting: list[_Job] = []
        for item in items:
            job = _Job(item)
            self._attempt(job, lambda job=job: self._begin(job, on_progress))
            if job.outcome is not None:
                yield job.outcome
                continue
            job.stop()
            waiting.append(job)
            if len(waiting) >= AT_ONCE:
                yield from self._together(waiting, on_progress)
                waiting = []
        yield from self._together(waiting, on_progress)

    def _album(
        self, items: Sequence[Item], on_progress: Callable[[str, int], None]
    ) -> Iterator[Outcome]:
        """Do tracks; their outcomes come at the end, so that a lost worker has done all or none."""
        jobs = [_Job(item) for item in items]
        if all(job.item.known_sha256 for job in jobs) and all(map(self._is_known, jobs)):
            yield from map(self._skipped, jobs)
            return
        reports = [_Throttle(item, on_progress) for item in items]
        tracks = cast("AlbumConverter", self._converter).album(
            [(job.item.source, partial(self._fetched, job)) for job in jobs],
            lambda number, share: reports[number](share),
        )
        for job in jobs:
            job.start()
            _, write = next(tracks)
            self._attempt(job, lambda job=job, write=write: self._write_track(job, write))
        yield from (job.outcome for job in jobs if job.outcome is not None)

    @contextmanager
    def _fetched(self, job: _Job) -> Iterator[Path]:
        with self._task.source.fetch(job.item.source, self._task.work) as path:
            job.sha256 = _digest(path)
            yield path

    def _is_known(self, job: _Job) -> bool:
        """Whether a source is what it was made of before."""
        try:
            with self._fetched(job):
                return job.sha256 == job.item.known_sha256
        except Exception:  # which doing it will tell
            return False

    def _skipped(self, job: _Job) -> Outcome:
        result, n_bytes_out = Result(job.item.known_seconds), job.item.known_target_size
        return self._outcome(job, "skipped", result=result, n_bytes_out=n_bytes_out)

    def _write_track(self, job: _Job, write: Callable[[Path], Result]) -> None:
        with self._task.target.stage(job.item.target, self._task.work) as staged:
            self._complete(job, staged, write(staged.path))

    @property
    def _segment_converter(self) -> SegmentConverter:
        """The converter, which can do segments where there are such units."""
        return cast("SegmentConverter", self._converter)

    def _attempt(self, job: _Job, action: Callable[[], None]) -> None:
        """Do something with a file; if that raises, it has failed, and the others go on."""
        try:
            action()
        except Exception as error:  # any kind: one file must not end a run of thousands
            text = _text(error, job.item, self._task.work)
            job.outcome = self._outcome(job, "failed", error=text)

    def _begin(self, job: _Job, on_progress: Callable[[str, int], None]) -> None:
        """Do a file, or prepare it to be done with others: then it has no outcome yet."""
        item, task = job.item, self._task
        with task.source.fetch(item.source, task.work) as path:
            job.sha256 = _digest(path)
            if item.known_sha256 and job.sha256 == item.known_sha256:
                job.outcome = self._skipped(job)
            elif item.is_copy:
                with task.target.stage(item.target, task.work) as staged:
                    shutil.copyfile(path, staged.path)
                    self._publish(job, staged, Result(0.0), "copied")
            else:
                job.prepared = self._converter.prepare(item.source, path)
                if job.prepared is None:
                    self._alone(job, path, on_progress)

    def _segment(
        self, item: Item, number: int, count: int, on_progress: Callable[[str, int], None]
    ) -> Outcome | SegmentResult:
        job, task = _Job(item), self._task
        found: list[Any] = []

        def work() -> None:
            with task.source.fetch(item.source, task.work) as path:
                report = _Throttle(item, on_progress)
                found.append(
                    self._segment_converter.segment(item.source, path, number, count, report)
                )

        self._attempt(job, work)
        if job.outcome is not None:
            return job.outcome
        job.stop()
        return SegmentResult(number, found[0], job.elapsed_s)

    def _join(self, item: Item, segments: Sequence[SegmentResult]) -> Outcome:
        job, task = _Job(item), self._task
        job.elapsed_s = sum(segment.elapsed_s for segment in segments)

        def work() -> None:
            with (
                task.source.fetch(item.source, task.work) as path,
                task.target.stage(item.target, task.work) as staged,
            ):
                job.sha256 = _digest(path)
                contents = [segment.content for segment in segments]
                result = self._segment_converter.join(item.source, path, contents, staged.path)
                self._complete(job, staged, result)

        self._attempt(job, work)
        if job.outcome is None:
            raise NcodecError(f"{item.source}: it has no result")
        return job.outcome

    def _alone(self, job: _Job, path: Path, on_progress: Callable[[str, int], None]) -> None:
        item, task = job.item, self._task
        report = _Throttle(item, on_progress)
        with task.target.stage(item.target, task.work) as staged:
            result = self._converter.convert(item.source, path, staged.path, report)
            self._complete(job, staged, result)

    def _complete(self, job: _Job, staged: StagedFile, result: Result) -> None:
        """Verify a single file, if that is asked for, and publish it."""
        if self._task.verify and (fault := self._faults([staged.path])[0]):
            raise NcodecError(fault)
        self._publish(job, staged, result, "done")

    def _together(
        self, jobs: Sequence[_Job], on_progress: Callable[[str, int], None]
    ) -> Iterator[Outcome]:
        """Do prepared files; one that fails is done again alone, to find out why."""
        if not jobs:
            return
        started = time.perf_counter()
        try:
            computed = self._converter.compute([job.prepared for job in jobs])
        except Exception:
            computed = []
        is_computed = {id(one) for one in computed}
        share_s = (time.perf_counter() - started) / len(jobs)
        with ExitStack() as stack:
            staged_files: list[tuple[_Job, StagedFile, Result]] = []
            for job in jobs:
                job.elapsed_s += share_s
                job.start()
                if id(job.prepared) in is_computed:
                    self._attempt(job, lambda job=job: staged_files.append(self._write(job, stack)))
                else:
                    self._attempt(job, lambda job=job: self._again(job, on_progress))
                if job.outcome is not None:
                    yield job.outcome
                job.prepared = None
                job.stop()
            yield from self._finish(staged_files)

    def _again(self, job: _Job, on_progress: Callable[[str, int], None]) -> None:
        with self._task.source.fetch(job.item.source, self._task.work) as path:
            self._alone(job, path, on_progress)

    def _write(self, job: _Job, stack: ExitStack) -> tuple[_Job, StagedFile, Result]:
        staged = self._task.target.stage(job.item.target, self._task.work)
        stack.enter_context(staged)
        return job, staged, self._converter.write(job.prepared, staged.path)

    def _finish(self, staged_files: Sequence[tuple[_Job, StagedFile, Result]]) -> Iterator[Outcome]:
        """Verify, if that is asked for, and publish."""
        started = time.perf_counter()
        faults = [""] * len(staged_files)
        if self._task.verify:
            faults = self._faults([staged.path for _, staged, _ in staged_files])
        share_s = (time.perf_counter() - started) / max(1, len(staged_files))
        for (job, staged, result), fault in zip(staged_files, faults, strict=True):
            job.elapsed_s += share_s
            job.start()
            if fault:
                job.outcome = self._outcome(job, "failed", error=fault)
            else:
                self._attempt(job, lambda j=job, s=staged, r=result: self._publish(j, s, r, "done"))
            if job.outcome is not None:
                yield job.outcome

    def _faults(self, paths: Sequence[Path]) -> list[str]:
        """Return what is wrong with files that were written."""
        try:
            found = self._converter.check(paths)
        except Exception as error:
            found = [str(error)] * len(paths)
        return [fault and f"is not right after encoding: {fault}" for fault in found]

    def _publish(self, job: _Job, staged: StagedFile, result: Result, status: Status) -> None:
        item = job.item
        if self._task.source.has_changed(item.source, item.size, item.mtime_ns):
            raise NcodecError("was changed meanwhile: run again")
        n_bytes_out = staged.publish(item.mtime_ns)
        job.outcome = self._outcome(job, status, result=result, n_bytes_out=n_bytes_out)

    def _outcome(
        self, job: _Job, status: Status, *, result: Result | None = None, n_bytes_out: int = 0,
        error: str = "",
    ) -> Outcome:  # fmt: skip
        item = job.item
        job.stop()
        return Outcome(
            item.source, item.target, status, error=error,
            seconds=result.seconds if result else 0.0, n_bytes_in=item.size,
            n_bytes_out=n_bytes_out, elapsed_s=job.elapsed_s, sha256=job.sha256,
            remarks=result.remarks if result else (),
            model_id=result.model_id if result else "",
            n_coded_channels=result.n_coded_channels if result else 0,
        )  # fmt: skip


class _Throttle:
    """Adds up shares of a file, and reports them now and then."""

    def __init__(self, item: Item, on_progress: Callable[[str, int], None]) -> None:
        self._item, self._on_progress = item, on_progress
        self._done = 0.0
        self._told = 0
        self._at = time.monotonic()

    def __call__(self, share: float) -> None:
        self._done = min(1.0, self._done + share)
        now = time.monotonic()
        if now - self._at >= _REPORT_S:
            n_bytes = int(self._done * self._item.size)
            self._on_progress(self._item.source, n_bytes - self._told)
            self._told, self._at = n_bytes, now


def _converter_for(task: Task) -> Converter[Any]:
    if task.settings.decode:
        from ncodec.batch.decoder import Decoder

        return Decoder(task.settings, n_threads=task.n_threads)
    from ncodec.batch.encoder import Encoder

    return Encoder(task.settings, device=task.device)


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _text(error: Exception, item: Item, work: Path) -> str:
    """Return what to say of an error, without the name of the file, or that of a staged file."""
    if isinstance(error, NcodecError):
        text = " ".join(str(error).split()).removeprefix(f"{' '.join(item.source.split())}: ")
        return re.sub(rf"^{re.escape(str(work))}\S*: ", "", text)
    if isinstance(error, MemoryError):
        return "not enough memory"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return f"{type(error).__name__}: {error}"
