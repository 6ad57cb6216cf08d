"""The codes of .ncx files as shards of tokens, and a manifest.

A folder holds `export.json`, which says what is made; shards, of so many clips each, in the order
of the clips; and at the end a manifest of all of them. A shard is followed by its part of the
manifest: one whose part is there is done, so that a run that was killed goes on where it was.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ncodec.batch.data.layouts import Layout
from ncodec.batch.data.pool import in_processes
from ncodec.batch.data.reading import read_all
from ncodec.batch.data.rows import Row, row_of
from ncodec.batch.data.shards import FORMATS, SUFFIXES, Item, as_columns, pyarrow, write_shard
from ncodec.batch.data.sources import Clip, Kind, Source, beside, besides, find_clips
from ncodec.errors import NcodecError, OutputExists, UsageError
from ncodec.formats.atomic_files import PARTIAL_PREFIX, atomic_output

SCHEMA = "ncodec.codes/1"
PLAN = "export.json"
MANIFESTS = {"jsonl": "manifest.jsonl", "parquet": "manifest.parquet"}
_PART = ".part.jsonl"  # of the manifest, of one shard
_OURS = ("export.json", "manifest.*", "shard-*")


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


@dataclass(frozen=True, slots=True)
class _ShardTask:
    """A shard that is to be made."""

    folder: Path
    name: str
    first: int  # number of its first clip
    clips: tuple[Clip, ...]
    kind: Kind
    layout: Layout
    options: ExportOptions


def export(
    sources: Sequence[Source], out: Source, options: ExportOptions, *, n_workers: int | None = None,
    overwrite: bool = False, on_progress: Callable[[int], None] = lambda n_clips: None,
) -> Exported:  # fmt: skip
    """Write the codes of all .ncx files of `sources`, files and folders, as shards into `out`.

    n_workers    processes; by default one per core. 0: this process only. They import the script
                 that calls this: its work stands below `if __name__ == "__main__":`
    overwrite    replace an export of other files or options that `out` holds
    on_progress  called with the number of clips that were just done

    The same call goes on with an export that was interrupted or killed, to the same bytes.

    Raises NcodecError, FormatError for a file that cannot be read, also of another model
    or number of codebooks than the others, OutputExists for a folder that holds another export.
    """
    folder = Path(out)
    clips = find_clips(sources)
    kind = Kind.of(clips, options.n_q)
    layout = Layout(options.layout, kind.n_codebooks, kind.header.codebook_size, options.offset)
    plan = _plan(clips, kind, options)
    manifest = folder / MANIFESTS[options.manifest]
    _prepare(folder, plan, overwrite=overwrite)
    tasks = list(_tasks(folder, clips, kind, layout, options))
    if manifest.exists():
        return Exported(len(clips), len(tasks), len(tasks))
    left = [task for task in tasks if not (folder / (task.name + _PART)).exists()]
    on_progress(sum(len(task.clips) for task in tasks) - sum(len(task.clips) for task in left))
    for n_done in in_processes(_make_shard, left, n_workers):
        on_progress(n_done)
    parts = [folder / (task.name + _PART) for task in tasks]
    _merge(parts, manifest, options.manifest)
    for part in parts:
        part.unlink()
    return Exported(len(clips), len(tasks), len(tasks) - len(left))


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


def _prepare(folder: Path, plan: dict[str, Any], *, overwrite: bool) -> None:
    """Make the folder ready to go on, or to begin. Raises OutputExists."""
    content = json.dumps(plan, indent=1).encode() + b"\n"
    path = folder / PLAN
    folder.mkdir(parents=True, exist_ok=True)
    for unfinished in folder.glob(f"{PARTIAL_PREFIX}*"):  # of a run that was killed
        unfinished.unlink(missing_ok=True)
    if path.is_file() and path.read_bytes() == content:
        return
    there = sorted(found for pattern in _OURS for found in folder.glob(pattern))
    if there and not overwrite:
        what = "other files or options" if path in there else "something else"
        raise OutputExists(f"{folder}: holds an export of {what}")
    for old in there:
        old.unlink()
    with atomic_output(path) as partial:
        partial.write_bytes(content)


def _tasks(
    folder: Path, clips: Sequence[Clip], kind: Kind, layout: Layout, options: ExportOptions
) -> Iterator[_ShardTask]:
    for number, first in enumerate(range(0, len(clips), options.shard_size)):
        some = tuple(clips[first : first + options.shard_size])
        yield _ShardTask(folder, f"shard-{number:06}", first, some, kind, layout, options)


def _make_shard(task: _ShardTask) -> int:
    """Write a shard and its part of the manifest; return how many clips it has."""
    options = task.options
    name = task.name + SUFFIXES[options.to]
    items: list[Item] = [
        ({"shard": name, **row}, task.layout.arrange(codes))
        for row, codes in _read_rows(task.clips, task.kind, task.first)
    ]
    with atomic_output(task.folder / name, overwrite=True) as partial:
        write_shard(options.to, partial, items)
    with atomic_output(task.folder / (task.name + _PART), overwrite=True) as partial:
        lines = (json.dumps(row) + "\n" for row, _ in items)
        partial.write_text("".join(lines), encoding="utf-8")
    return len(items)


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


def _merge(parts: Sequence[Path], manifest: Path, kind: str) -> None:
    """Make the manifest of its parts."""
    with atomic_output(manifest, overwrite=True) as partial:
        if kind == "jsonl":
            with partial.open("wb") as sink:
                for part in parts:
                    with part.open("rb") as source:
                        shutil.copyfileobj(source, sink)
            return
        pa, writer = pyarrow(), None
        try:
            for part in parts:
                with part.open(encoding="utf-8") as lines:
                    table = pa.table(as_columns([json.loads(line) for line in lines]))
                writer = writer or pa.parquet.ParquetWriter(partial, table.schema)
                writer.write_table(table)
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
