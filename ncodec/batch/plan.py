"""What is to be done: what there is, against what was done already."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from ncodec.batch.albums import gather
from ncodec.batch.names import is_source, is_wanted, suffix_of, targets_for
from ncodec.batch.settings import COPY, Settings
from ncodec.batch.state import History, Record
from ncodec.batch.storage import Entry, Storage, check_apart, is_plain
from ncodec.batch.work_units import Item
from ncodec.formats.audio_files import WITH_FFMPEG


@dataclass(frozen=True, slots=True)
class FileOptions:
    """Which files are taken, and when they count as done.

    include, exclude  patterns of paths, names and folders
    copy_other        copy all other files too
    checksum          compare the content of a source, not its time, to see whether it has changed
    verify            decode the codes of an output before it is published
    overwrite         replace files in the target that no earlier run has made
    gapless           the files of a folder are tracks that follow each other, in the order of their
                      names: see `encode_gapless`
    """

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    copy_other: bool = False
    checksum: bool = False
    verify: bool = False
    overwrite: bool = False
    gapless: bool = False


@dataclass(frozen=True, slots=True)
class Problem:
    """A file that cannot be done."""

    source: str
    target: str
    size: int
    why: str


@dataclass(slots=True)
class Plan:
    """What is to be done.

    Attributes:
        items: to be done.
        done: by earlier runs.
        problems: that are known beforehand.
        n_other: files of other kinds, which are left alone.
        unreadable: of these, paths of audio that cannot be read, by their suffixes.
    """

    items: list[Item] = field(default_factory=list)
    done: list[Record] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    n_other: int = 0
    unreadable: list[str] = field(default_factory=list)

    @property
    def n_bytes(self) -> int:
        """Of all that is to be done."""
        return sum(item.size for item in self.items)


def make_plan(source: Storage, target: Storage, settings: Settings, options: FileOptions) -> Plan:
    """Look at both trees. Raises UsageError where they cannot be source and target."""
    check_apart(source, target)
    listing = source.walk(target)
    plan = Plan()
    plan.problems += [Problem(path, "", 0, why) for path, why in listing.problems]
    pairs = _pair(listing.files, settings, options, plan)
    # First what is there, then what is known of it: another run notes its outputs beforehand.
    sizes = target.sizes([to for _, to in pairs])
    history = History(target.logs())
    for entry, to in pairs:
        _classify(entry, to, sizes.get(to), history, settings, options, plan)
    if settings.gapless:
        breaks = [problem.source for problem in plan.problems] + plan.unreadable
        plan.items, plan.done = gather(plan.items, plan.done, breaks)
    return plan


def _pair(
    files: Sequence[Entry], settings: Settings, options: FileOptions, plan: Plan
) -> list[tuple[Entry, str]]:
    """Return what is wanted, and its outputs. The names depend on nothing but the listing."""
    sources = [entry for entry in files if is_source(entry.path, decode=settings.decode)]
    kinds = {entry.path for entry in sources}
    others = {entry.path for entry in files if entry.path not in kinds}
    folders = {str(parent) for entry in files for parent in PurePosixPath(entry.path).parents}
    targets = targets_for([entry.path for entry in sources], others | folders, settings.suffix)
    pairs: list[tuple[Entry, str]] = []
    for entry in files:
        path = entry.path
        if not is_wanted(path, options.include, options.exclude):
            continue
        if path not in kinds and not options.copy_other:
            plan.n_other += 1
            if not settings.decode and suffix_of(path) in WITH_FFMPEG:
                plan.unreadable.append(path)
            continue
        to = targets[path] if path in kinds else path
        why = entry.problem
        if not is_plain(path):
            why = "has a name that leads out of its folder"
        elif to is None:
            why = f"{path}{settings.suffix} and every shorter name is that of another file"
        if why or to is None:
            plan.problems.append(Problem(path, to or "", entry.size, why))
        else:
            pairs.append((entry, to))
    return pairs


def _classify(
    entry: Entry, to: str, size: int | None, history: History, settings: Settings,
    options: FileOptions, plan: Plan,
) -> None:  # fmt: skip
    """Add a file to what is done, to be done, or cannot be."""
    is_copy = not is_source(entry.path, decode=settings.decode)
    if size is not None and not history.is_ours(to) and not options.overwrite:
        why = f"{to} exists already, and is not of an earlier run"
        plan.problems.append(Problem(entry.path, to, entry.size, why))
        return
    item = Item(entry.path, to, entry.size, entry.mtime_ns, is_copy)
    record = history.record(to)
    if record is not None and (
        record.source == entry.path
        and record.size == entry.size
        and record.target_size == size
        and record.settings == (COPY if is_copy else settings.digest)
    ):
        if not options.checksum and record.mtime_ns == entry.mtime_ns:
            plan.done.append(record)
            return
        if options.checksum:
            item = replace(
                item, known_sha256=record.sha256, known_seconds=record.seconds,
                known_target_size=record.target_size,
            )  # fmt: skip
    plan.items.append(item)
