"""Shards of tokens back to .ncx files."""

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any

from ncodec.batch.data.export import FAILED, MANIFESTS, PLAN, SCHEMA
from ncodec.batch.data.layouts import Layout
from ncodec.batch.data.pool import in_processes
from ncodec.batch.data.rows import Row, facts_of
from ncodec.batch.data.shards import FORMATS, SUFFIXES, pyarrow, read_shard
from ncodec.batch.data.sources import Source
from ncodec.bitstream.clips import write_clip
from ncodec.errors import NcodecError, UsageError
from ncodec.formats.atomic_files import atomic_output

_MOST_PLAN_BYTES = 1 << 20
_MOST_LINE_BYTES = 1 << 26  # of a manifest: a long clip has a scale for each second


@dataclass(frozen=True, slots=True)
class _Task:
    """A shard whose clips are to be made."""

    shard: Path
    form: str
    rows: tuple[Row, ...]
    layout: Layout
    out: Path
    entropy: str | None
    overwrite: bool


def restore(
    folder: Source, out: Source, *, entropy: str | None = None, n_workers: int | None = None,
    overwrite: bool = False, on_progress: Callable[[int], None] = lambda n_clips: None,
) -> int:  # fmt: skip
    """Make the .ncx files again of which `folder` is an export; return how many they are.

    out        a folder: each file has its old path there
    entropy    transformer, mixed, adaptive or packed; by default as `ncodec.encode`
    n_workers  processes; by default one per core. 0: this process only

    Raises NcodecError for a folder that is not a whole export, OutputExists.
    """
    source, target = Path(folder), Path(out)
    plan = _read_plan(source)
    rows = _read_manifest(source / MANIFESTS[plan["manifest"]])
    layout = _layout_of(plan, source / PLAN)
    suffix = SUFFIXES[plan["to"]]

    def tasks() -> Iterator[_Task]:
        for name, some in groupby(rows, lambda row: row.get("shard")):
            if not isinstance(name, str) or PurePosixPath(name).name != name or "\\" in name:
                raise NcodecError(f"{source}: the manifest names no shard, but {name!r}")
            if not name.endswith(suffix):
                raise NcodecError(f"{source / name}: not a shard of {plan['to']}")
            yield _Task(
                source / name, plan["to"], tuple(some), layout, target, entropy, overwrite
            )  # fmt: skip

    n_done = 0
    for count in in_processes(_make_clips, tasks(), n_workers):
        n_done += count
        on_progress(count)
    failed = source / FAILED
    n_failed = len(failed.read_bytes().splitlines()) if failed.exists() else 0
    if n_done + n_failed != plan["clips"]:
        left_out = f" and {n_failed} that failed" if n_failed else ""
        raise NcodecError(
            f"{source}: {n_done} clips{left_out}, but {PLAN} tells of {plan['clips']}"
        )
    return n_done


def _make_clips(task: _Task) -> int:
    """Write the .ncx files of a shard."""
    count = 0
    for row, tokens in read_shard(task.form, task.shard, task.rows, task.layout):
        title = f"{task.shard}: {row['key']}"
        target = task.out / _checked_path(row.get("path"), title)
        facts = facts_of(row, title)
        try:
            codes = task.layout.restore(tokens)
            n_streams = facts.header.n_streams
            shape = (n_streams, task.layout.n_codebooks // n_streams, codes.shape[1])
            sink = io.BytesIO()
            write_clip(sink, codes.reshape(shape), facts, task.entropy)
        except (NcodecError, ValueError) as error:
            raise NcodecError(f"{title}: {error}") from None
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_output(target, task.overwrite) as partial:
            partial.write_bytes(sink.getvalue())
        count += 1
    return count


def _checked_path(path: object, title: str) -> Path:
    """Return a path below a folder. Raises NcodecError for one that leads elsewhere."""
    parts = path.split("/") if isinstance(path, str) else []
    odd = not parts or any(part in ("", ".", "..") or "\0" in part for part in parts)
    if odd or Path(str(path)).is_absolute() or (Path(str(path)).drive or "\\" in str(path)):
        raise NcodecError(f"{title}: {path!r} is no path below a folder")
    return Path(*parts)


def _read_plan(folder: Path) -> dict[str, Any]:
    path = folder / PLAN
    if not path.is_file():
        raise NcodecError(f"{folder}: holds no export: {PLAN} is missing")
    with path.open("rb") as file:
        content = file.read(_MOST_PLAN_BYTES)
    try:
        plan = json.loads(content)
        known = plan["schema"] == SCHEMA and plan["to"] in FORMATS and plan["manifest"] in MANIFESTS
    except (KeyError, TypeError, ValueError, RecursionError):
        known, plan = False, {}
    if not known:
        raise NcodecError(f"{path}: does not describe an export, schema {SCHEMA}")
    return plan


def _layout_of(plan: dict[str, Any], path: Path) -> Layout:
    try:
        numbers = [plan[name] for name in ("streams", "codebooks", "codebook_size")]
        if not all(type(one) is int and 1 <= one <= 1 << 16 for one in numbers):
            raise ValueError(f"sizes {numbers}")
        return Layout(
            str(plan["layout"]), numbers[0] * numbers[1], numbers[2], plan["offset"] is True
        )
    except (KeyError, ValueError, UsageError) as error:
        raise NcodecError(f"{path}: {error}") from None


def _read_manifest(path: Path) -> Iterator[Row]:
    """Yield the rows of a manifest. Raises NcodecError."""
    if not path.is_file():
        raise NcodecError(f"{path}: is missing; is the export complete?")
    if path.suffix == ".parquet":
        pa = pyarrow()
        try:
            with pa.parquet.ParquetFile(path) as file:
                for batch in file.iter_batches(1000):
                    yield from batch.to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise NcodecError(f"{path}: cannot be read: {error}") from None
        return
    with path.open("rb") as file:
        for number in range(1, 1 << 62):
            line = file.readline(_MOST_LINE_BYTES)
            if not line:
                return
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            if not isinstance(row, dict):
                raise NcodecError(f"{path}, line {number}: not a JSON object")
            yield row
