"""What a worker does with the files that it is handed. Every engine runs this."""

import hashlib
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from ncodec.batch.converting import Converter, Made, Splitter
from ncodec.batch.orders import Order, Part
from ncodec.batch.outcome import Item, Outcome, Status
from ncodec.batch.settings import Settings
from ncodec.batch.storage import Draft, Place
from ncodec.errors import NcodecError

AT_ONCE = 64  # short files that are computed together
_REPORT_S = 0.25  # at most so often is told how far a file is


@dataclass(frozen=True, slots=True)
class Task:
    """What all workers of a run are told. Can be pickled."""

    source: Place
    target: Place
    settings: Settings
    work: Path  # folder for drafts
    verify: bool
    n_threads: int = 1  # for what decodes a long file
    device: str = "cpu"  # of the networks that encode


@dataclass(slots=True)
class _InHand:
    """A file that is being done."""

    item: Item
    elapsed_s: float = 0.0
    sha256: str = ""
    prepared: Any = None
    outcome: Outcome | None = None
    started: float = field(default_factory=time.perf_counter)

    def stop(self) -> None:
        """Let the clock stand, until `start`."""
        self.elapsed_s += time.perf_counter() - self.started

    def start(self) -> None:
        """Let the clock run."""
        self.started = time.perf_counter()


class Worker:
    """Converts files, with models that are loaded once."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._converter = _converter_for(task)
        task.target.enter(task.work)

    def run(
        self, order: Order, on_progress: Callable[[str, int], None]
    ) -> Iterator[Outcome | Part]:
        """Do what is ordered, and yield what came of each file, in any order, or of the stretch.

        on_progress  called now and then with a source, and how many of its bytes were just done
        """
        if order.stretch:
            yield self._stretch(order.item, *order.stretch, on_progress)
        elif order.parts:
            yield self._join(order.item, order.parts)
        else:
            yield from self._files(order.items, on_progress)

    def _files(
        self, items: Sequence[Item], on_progress: Callable[[str, int], None]
    ) -> Iterator[Outcome]:
        waiting: list[_InHand] = []
        for item in items:
            hand = _InHand(item)
            self._attempt(hand, lambda hand=hand: self._begin(hand, on_progress))
            if hand.outcome is not None:
                yield hand.outcome
                continue
            hand.stop()
            waiting.append(hand)
            if len(waiting) >= AT_ONCE:
                yield from self._together(waiting, on_progress)
                waiting = []
        yield from self._together(waiting, on_progress)

    @property
    def _splitter(self) -> Splitter:
        """The converter, which can do that where such orders are given."""
        return cast("Splitter", self._converter)

    def _attempt(self, hand: _InHand, action: Callable[[], None]) -> None:
        """Do something with a file; if that raises, it has failed, and the others go on."""
        try:
            action()
        except Exception as error:  # of whatever kind: one file must not end a run of thousands
            text = _text(error, hand.item, self._task.work)
            hand.outcome = self._result(hand, "failed", error=text)

    def _begin(self, hand: _InHand, on_progress: Callable[[str, int], None]) -> None:
        """Do a file, or prepare it to be done with others: then it has no outcome yet."""
        item, task = hand.item, self._task
        with task.source.fetch(item.source, task.work) as path:
            hand.sha256 = _digest(path)
            if item.known_sha256 and hand.sha256 == item.known_sha256:
                made = Made(item.known_seconds)
                n_bytes_out = item.known_target_size
                hand.outcome = self._result(hand, "skipped", made=made, n_bytes_out=n_bytes_out)
            elif item.is_copy:
                with task.target.draft(item.target, task.work) as draft:
                    shutil.copyfile(path, draft.path)
                    self._publish(hand, draft, Made(0.0), "copied")
            else:
                hand.prepared = self._converter.prepare(item.source, path)
                if hand.prepared is None:
                    self._alone(hand, path, on_progress)

    def _stretch(
        self, item: Item, number: int, count: int, on_progress: Callable[[str, int], None]
    ) -> Outcome | Part:
        hand, task = _InHand(item), self._task
        found: list[Any] = []

        def work() -> None:
            with task.source.fetch(item.source, task.work) as path:
                report = _Throttle(item, on_progress)
                found.append(self._splitter.stretch(item.source, path, number, count, report))

        self._attempt(hand, work)
        if hand.outcome is not None:
            return hand.outcome
        hand.stop()
        return Part(number, found[0], hand.elapsed_s)

    def _join(self, item: Item, parts: Sequence[Part]) -> Outcome:
        hand, task = _InHand(item), self._task
        hand.elapsed_s = sum(part.elapsed_s for part in parts)

        def work() -> None:
            with (
                task.source.fetch(item.source, task.work) as path,
                task.target.draft(item.target, task.work) as draft,
            ):
                hand.sha256 = _digest(path)
                contents = [part.content for part in parts]
                made = self._splitter.join(item.source, path, contents, draft.path)
                self._complete(hand, draft, made)

        self._attempt(hand, work)
        if hand.outcome is None:
            raise NcodecError(f"{item.source}: nothing came of it")
        return hand.outcome

    def _alone(self, hand: _InHand, path: Path, on_progress: Callable[[str, int], None]) -> None:
        item, task = hand.item, self._task
        report = _Throttle(item, on_progress)
        with task.target.draft(item.target, task.work) as draft:
            made = self._converter.convert(item.source, path, draft.path, report)
            self._complete(hand, draft, made)

    def _complete(self, hand: _InHand, draft: Draft, made: Made) -> None:
        """Verify a single file, if that is asked for, and publish it."""
        if self._task.verify and (fault := self._faults([draft.path])[0]):
            raise NcodecError(fault)
        self._publish(hand, draft, made, "done")

    def _together(
        self, hands: Sequence[_InHand], on_progress: Callable[[str, int], None]
    ) -> Iterator[Outcome]:
        """Do prepared files; one with which that does not work is done alone, to say why."""
        if not hands:
            return
        started = time.perf_counter()
        try:
            computed = self._converter.compute([hand.prepared for hand in hands])
        except Exception:
            computed = []
        is_computed = {id(one) for one in computed}
        share_s = (time.perf_counter() - started) / len(hands)
        with ExitStack() as stack:
            drafts: list[tuple[_InHand, Draft, Made]] = []
            for hand in hands:
                hand.elapsed_s += share_s
                hand.start()
                if id(hand.prepared) in is_computed:
                    self._attempt(hand, lambda hand=hand: drafts.append(self._write(hand, stack)))
                else:
                    self._attempt(hand, lambda hand=hand: self._again(hand, on_progress))
                if hand.outcome is not None:
                    yield hand.outcome
                hand.prepared = None
                hand.stop()
            yield from self._finish(drafts)

    def _again(self, hand: _InHand, on_progress: Callable[[str, int], None]) -> None:
        with self._task.source.fetch(hand.item.source, self._task.work) as path:
            self._alone(hand, path, on_progress)

    def _write(self, hand: _InHand, stack: ExitStack) -> tuple[_InHand, Draft, Made]:
        draft = self._task.target.draft(hand.item.target, self._task.work)
        stack.enter_context(draft)
        return hand, draft, self._converter.write(hand.prepared, draft.path)

    def _finish(self, drafts: Sequence[tuple[_InHand, Draft, Made]]) -> Iterator[Outcome]:
        """Verify, if that is asked for, and publish."""
        started = time.perf_counter()
        faults = [""] * len(drafts)
        if self._task.verify:
            faults = self._faults([draft.path for _, draft, _ in drafts])
        share_s = (time.perf_counter() - started) / max(1, len(drafts))
        for (hand, draft, made), fault in zip(drafts, faults, strict=True):
            hand.elapsed_s += share_s
            hand.start()
            if fault:
                hand.outcome = self._result(hand, "failed", error=fault)
            else:
                self._attempt(hand, lambda h=hand, d=draft, m=made: self._publish(h, d, m, "done"))
            if hand.outcome is not None:
                yield hand.outcome

    def _faults(self, paths: Sequence[Path]) -> list[str]:
        """Return what is wrong with files that were written."""
        try:
            found = self._converter.check(paths)
        except Exception as error:
            found = [str(error)] * len(paths)
        return [fault and f"is not right after encoding: {fault}" for fault in found]

    def _publish(self, hand: _InHand, draft: Draft, made: Made, status: Status) -> None:
        item = hand.item
        if self._task.source.has_changed(item.source, item.size, item.mtime_ns):
            raise NcodecError("was changed meanwhile: run again")
        n_bytes_out = draft.publish(item.mtime_ns)
        hand.outcome = self._result(hand, status, made=made, n_bytes_out=n_bytes_out)

    def _result(
        self, hand: _InHand, status: Status, *, made: Made | None = None, n_bytes_out: int = 0,
        error: str = "",
    ) -> Outcome:  # fmt: skip
        item = hand.item
        hand.stop()
        return Outcome(
            item.source, item.target, status, error=error, seconds=made.seconds if made else 0.0,
            n_bytes_in=item.size, n_bytes_out=n_bytes_out, elapsed_s=hand.elapsed_s,
            sha256=hand.sha256, remarks=made.remarks if made else (),
        )  # fmt: skip


class _Throttle:
    """Adds up shares of a file, and tells of them now and then."""

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
    """Return what to say of an error, without the name of the file, or that of a draft."""
    if isinstance(error, NcodecError):
        text = " ".join(str(error).split()).removeprefix(f"{' '.join(item.source.split())}: ")
        return re.sub(rf"^{re.escape(str(work))}\S*: ", "", text)
    if isinstance(error, MemoryError):
        return "not enough memory"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return f"{type(error).__name__}: {error}"
