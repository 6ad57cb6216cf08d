"""The codes of .ncx files as shards of tokens, and a manifest.

A folder holds `export.json`, which says what is made; shards, of so many clips each, in the order
of the clips; and at the end a manifest of all of them, and a list of those that failed. A shard is
followed by its parts of both: one whose parts are there is done, so that a run that was killed goes
on where it was.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ncodec.batch.data.layouts import Layout
from ncodec.batch.data.places import Folder, open_folder
from ncodec.batch.data.pool import in_workers
from ncodec.batch.data.reading import read_all
from ncodec.batch.data.rows import Row, row_of
from ncodec.batch.data.shards import FORMATS, SUFFIXES, Item, as_columns, pyarrow, write_shard
from ncodec.batch.data.sources import Clip, Kind, Source, beside, besides, find_clips
from ncodec.batch.protocols import WorkerPool
from ncodec.errors import NcodecError, OutputExists, UsageError

SCHEMA = "ncodec.codes/1"
PLAN = "export.json"
MANIFESTS = {"jsonl": "manifest.jsonl", "parquet": "manifest.parquet"}
FAILED = "failed.jsonl"  # rows of what could not be read
_PART, _FAILED_PART = ".part.jsonl", ".failed.jsonl"  # of the manifest and of FAILED, of one shard
_OURS = ("export.json", "manifest.*", "shard-*", FAILED)
_AT_ONCE = 64  # clips, whose codes are decoded together


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """How codes are written.

    to          npy, npz, safetensors, parquet or webdataset
    layout      frames, flat or delay; see `Layout`
    offset      for flat: each codebook has tokens of its own
    n_q         only the first so many codebooks of each stream
    shard_size  clips of a shard
    manifest    jsonl or parquet

    Raises UsageError for others.
    """

    to: str
    layout: str = "frames"
    offset: bool = False
    n_q: int | None = None
    shard_size: int = 1000
    manifest: str = "jsonl"

    def __post_init__(self) -> None:
        if self.to not in FORMATS:
            raise UsageError(f"format {self.to!r} is not one of {', '.join(FORMATS)}")
        if self.manifest not in MANIFESTS:
            raise UsageError(f"manifest {self.manifest!r} is not one of {', '.join(MANIFESTS)}")
        if self.shard_size < 1:
            raise UsageError(f"shards of {self.shard_size} clips")
        Layout(self.layout, 1, 2, self.offset)
        if "parquet" in (self.to, self.manifest):
            pyarrow()


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export came to, those of earlier runs included."""

    n_clips: int
    n_shards: int
    n_shards_before: int  # that were there already
    failures: tuple[str, ...] = ()  # what is wrong with each file that was left out, its name first


@dataclass(frozen=True, slots=True)
class _ShardTask:
    """A shard that is to be made."""

    folder: Folder
    name: str
    first: int  # number of its first clip
    clips: tuple[Clip, ...]
    kind: Kind
    layout: Layout
    options: ExportOptions


def export(
    sources: Sequence[Source], out: Source, options: ExportOptions, *, n_workers: int | None = None,
    engine: str = "local", address: str | None = None, overwrite: bool = False,
    on_progress: Callable[[int], None] = lambda n_clips: None,
) -> Exported:  # fmt: skip
    """Write the codes of all .ncx files of `sources`, files and folders, as shards into `out`.

    sources, out paths, or URLs of folders that fsspec reaches
    n_workers    processes; by default one per core. 0: this process only. They import the script
                 that calls this: its work stands below `if __name__ == "__main__":`
    engine       "local", or "ray" with the `address` of a cluster, as in `WorkerPool`
    overwrite    replace an export of other files or options that `out` holds
    on_progress  called with the number of clips that were just done

    The same call goes on with an export that was interrupted or killed, to the same bytes. A file
    that cannot be read, or is of another model or number of codebooks than the first, is left out.

    Raises NcodecError where no file can be read, OutputExists for a folder that holds another
    export.
    """
    folder = open_folder(out)
    clips = find_clips(sources)
    kind = Kind.of(clips, options.n_q, lenient=True)
    layout = Layout(options.layout, kind.n_codebooks, kind.header.codebook_size, options.offset)
    plan = _plan(clips, kind, options)
    _prepare(folder, plan, overwrite=overwrite)
    tasks = list(_tasks(folder, clips, kind, layout, options))
    there = folder.names()
    left: list[_ShardTask] = []
    if MANIFESTS[options.manifest] not in there:
        left = [task for task in tasks if task.name + _PART not in there]
        on_progress(len(clips) - sum(len(task.clips) for task in left))
        is_shared = folder.is_shared and all(clip.is_shared for clip in clips)
        pool = WorkerPool(n_workers if is_shared else 0, engine, address)
        for n_done in in_workers(_make_shard, left, pool):
            on_progress(n_done)
        _merge(folder, [task.name for task in tasks], options.manifest)
    failures: list[str] = []
    if FAILED in folder.names():
        failures = [json.loads(line)["error"] for line in folder.read(FAILED).splitlines()]
    return Exported(len(clips) - len(failures), len(tasks), len(tasks) - len(left), tuple(failures))


def _plan(clips: Sequence[Clip], kind: Kind, options: ExportOptions) -> dict[str, Any]:
    """Return what `export.json` says: all that the bytes of the shards depend on."""
    digest = hashlib.sha256()
    for clip in clips:
        digest.update(f"{clip.name}\0".encode("utf-8", "surrogateescape"))
        for path in (clip.path, *besides(clip)):
            with suppress(FileNotFoundError):
                status = path.stat()
                digest.update(f"{path.suffix}:{status.st_size}:{status.st_mtime_ns}\0".encode())
    header = kind.header
    return {
        "schema": SCHEMA, **asdict(options),
        "model": header.model_id, "fingerprint": header.model_fingerprint.hex(),
        "streams": header.n_streams, "codebooks": kind.n_q, "codebook_size": header.codebook_size,
        "clips": len(clips), "sources": digest.hexdigest(),
    }  # fmt: skip


def _prepare(folder: Folder, plan: dict[str, Any], *, overwrite: bool) -> None:
    """Make the folder ready to go on, or to begin. Raises OutputExists."""
    content = json.dumps(plan, indent=1).encode() + b"\n"
    folder.prepare()
    names = folder.names()
    if PLAN in names and folder.read(PLAN) == content:
        return
    there = sorted(name for name in names if any(fnmatch(name, pattern) for pattern in _OURS))
    if there and not overwrite:
        what = "other files or options" if PLAN in there else "something else"
        raise OutputExists(f"{folder}: holds an export of {what}")
    for old in there:
        folder.remove(old)
    with folder.create(PLAN) as path:
        path.write_bytes(content)


def _tasks(
    folder: Folder, clips: Sequence[Clip], kind: Kind, layout: Layout, options: ExportOptions
) -> Iterator[_ShardTask]:
    for number, first in enumerate(range(0, len(clips), options.shard_size)):
        some = tuple(clips[first : first + options.shard_size])
        yield _ShardTask(folder, f"shard-{number:06}", first, some, kind, layout, options)


def _make_shard(task: _ShardTask) -> int:
    """Write a shard and its parts of the lists; return how many clips it stands for."""
    options = task.options
    name = task.name + SUFFIXES[options.to]
    items: list[Item] = []
    failures: list[Row] = []
    for start in range(0, len(task.clips), _AT_ONCE):
        some = task.clips[start : start + _AT_ONCE]
        for found in _read_what_can_be(some, task.kind, task.first + start):
            if isinstance(found, dict):
                failures.append(found)
            else:
                items.append(({"shard": name, **found[0]}, task.layout.arrange(found[1])))
    if items:
        with task.folder.create(name) as path:
            write_shard(options.to, path, items)
    for suffix, rows in ((_FAILED_PART, failures), (_PART, [row for row, _ in items])):
        if rows or suffix == _PART:
            with task.folder.create(task.name + suffix) as path:
                path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return len(task.clips)


def _read_what_can_be(
    clips: Sequence[Clip], kind: Kind, first: int
) -> list[tuple[Row, NDArray[np.int64]] | Row]:
    """Return the row and the codes of each clip, or a row that says why it cannot be read."""
    try:
        return [*_read_rows(clips, kind, first)]
    except (NcodecError, OSError) as error:
        if len(clips) > 1:
            alone = (_read_what_can_be([one], kind, key) for key, one in enumerate(clips, first))
            return [found for each in alone for found in each]
        title = clips[0].title
        why = " ".join(str(getattr(error, "strerror", None) or error).split())
        name = os.fsencode(clips[0].name).decode("utf-8", "replace")
        return [{"path": name, "error": why if title in why else f"{title}: {why}"}]


def _read_rows(
    clips: Sequence[Clip], kind: Kind, first: int = 0
) -> Iterator[tuple[Row, NDArray[np.int64]]]:
    """Yield the row of each clip, whose key is its number from `first` on, and its codes [K, T].

    Raises NcodecError, with the file's name.
    """
    for number, (clip, codes, facts) in enumerate(read_all(clips, kind), first):
        speaker, text = beside(clip, facts.header)
        name = os.fsencode(clip.name).decode("utf-8", "replace")
        if name != clip.name:
            raise NcodecError(f"{clip.title!r}: its name is not Unicode")
        plain = replace(facts, header=replace(facts.header, attachments=()))
        row = row_of(f"{number:09}", name, plain, speaker, text)
        yield row, codes.reshape(kind.n_codebooks, codes.shape[2])


def _merge(folder: Folder, shards: Sequence[str], kind: str) -> None:
    """Make the lists of their parts, which are then removed.

    shards  names, without suffix
    """
    names = folder.names()
    parts = [name + _PART for name in shards]
    failed = [name + _FAILED_PART for name in shards if name + _FAILED_PART in names]
    if failed:
        with folder.create(FAILED) as path, path.open("wb") as sink:
            sink.writelines(map(folder.read, failed))
    with folder.create(MANIFESTS[kind]) as path:
        if kind == "jsonl":
            with path.open("wb") as sink:
                sink.writelines(map(folder.read, parts))
        else:
            _write_table(path, map(folder.read, parts))
    for name in (*parts, *failed):
        folder.remove(name)


def _write_table(path: Path, parts: Iterable[bytes]) -> None:
    """Write the rows of parts of the manifest in parquet."""
    pa, writer = pyarrow(), None
    try:
        for part in parts:
            if not part:
                continue
            table = pa.table(as_columns([json.loads(line) for line in part.splitlines()]))
            writer = writer or pa.parquet.ParquetWriter(path, table.schema)
            writer.write_table(table)
        if writer is None:
            pa.parquet.write_table(pa.table({}), path)
    finally:
        if writer is not None:
            writer.close()


def records(sources: Iterable[Source], n_q: int | None = None) -> Iterator[Row]:
    """Yield each .ncx file of files and folders: its row, and its `codes` [K, T] in an array.

    The keys are those of a manifest: path, speaker, text, duration, ... Raises as `export` does.
    """
    clips = find_clips(list(sources))
    kind = Kind.of(clips, n_q)
    layout = Layout("frames", kind.n_codebooks, kind.header.codebook_size)
    for row, codes in _read_rows(clips, kind):
        yield {**row, "codes": layout.arrange(codes)}
