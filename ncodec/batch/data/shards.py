"""Shards: tokens of many clips in one file, of five formats, the same bytes each time.

Each format has a function that writes all clips of a shard and one that reads them again. What is
read is compared with the rows of the manifest before memory is taken for it.
"""

import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from ncodec.batch.data.layouts import Layout, Tokens
from ncodec.batch.data.rows import Row
from ncodec.errors import NcodecError, UsageError

if TYPE_CHECKING:
    from types import ModuleType

SUFFIXES = {
    "npy": ".npy", "npz": ".npz", "safetensors": ".safetensors", "parquet": ".parquet",
    "webdataset": ".tar",
}  # fmt: skip
FORMATS = tuple(SUFFIXES)
_AT_ONCE = 64  # rows of a parquet file
_MOST_FRAMES = 1 << 40  # of a row: a number that no product overflows

Item = tuple[Row, Tokens]


def write_shard(form: str, path: Path, items: Sequence[Item]) -> None:
    """Write the clips of a shard, at least one, to a new file, `path`."""
    _WRITERS[form](path, items)


def read_shard(
    form: str, path: Path, rows: Sequence[Row], layout: Layout
) -> Iterator[tuple[Row, NDArray[Any]]]:
    """Yield the rows of a shard and the tokens of each.

    Raises NcodecError for a shard that is not as its rows say.
    """
    try:
        yield from _READERS[form](path, rows, layout)
    except NcodecError:
        raise
    except (KeyError, ValueError, TypeError, EOFError, tarfile.TarError, zipfile.BadZipFile) as why:
        raise NcodecError(f"{path}: not the shard that its manifest tells of: {why}") from None


def n_frames_of(row: Row) -> int:
    """Return the frames of a row. Raises ValueError."""
    n_frames = row["frames"]
    if type(n_frames) is not int or not 0 <= n_frames < _MOST_FRAMES:
        raise ValueError(f"frames is {n_frames!r}")
    return n_frames


def pyarrow() -> "ModuleType":
    """Return pyarrow, with pyarrow.parquet. Raises UsageError where it is not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UsageError("parquet needs pyarrow: pip install 'ncodec[parquet]'") from None
    return pyarrow


def _npy_bytes(tokens: Tokens) -> bytes:
    stream = io.BytesIO()
    npy.write_array(stream, tokens, version=(1, 0), allow_pickle=False)
    return stream.getvalue()


def _read_npy(stream: BinaryIO | Any, n_bytes: int, row: Row, layout: Layout) -> NDArray[Any]:
    """Return an array that must be as its row says."""
    if npy.read_magic(stream) != (1, 0):
        raise ValueError(f"{row['key']}: not version 1.0 of npy")
    shape, is_fortran, dtype = npy.read_array_header_1_0(stream)
    wanted = layout.shape(n_frames_of(row))
    if (shape, dtype, is_fortran) != (wanted, np.dtype(layout.dtype), False):
        raise ValueError(f"{row['key']}: {dtype} {shape}, expected {wanted}")
    size = prod(shape) * dtype.itemsize
    content = stream.read(size) if size <= n_bytes else b""
    if len(content) != size:
        raise ValueError(f"{row['key']}: ends too early")
    return np.frombuffer(content, dtype).reshape(shape)


def _write_npy(path: Path, items: Sequence[Item]) -> None:
    """Write one array, all clips one after the other; `start` of a row says where."""
    start = 0
    for row, tokens in items:
        row["start"] = start
        start += tokens.shape[-1]
    with path.open("wb") as file:
        joined = np.concatenate([tokens for _, tokens in items], axis=-1)
        npy.write_array(file, joined, version=(1, 0), allow_pickle=False)


def _read_npy_shard(
    path: Path, rows: Sequence[Row], layout: Layout
) -> Iterator[tuple[Row, NDArray[Any]]]:
    joined = npy.open_memmap(path, "r")  # of plain numbers only
    for row in rows:
        shape, start = layout.shape(n_frames_of(row)), row["start"]
        tokens = joined[..., start : start + shape[-1]] if type(start) is int else joined[..., :0]
        if start < 0 or tokens.shape != shape or tokens.dtype != layout.dtype:
            raise ValueError(f"{row['key']}: {shape} from {start} is not there")
        yield row, np.array(tokens)


def _write_npz(path: Path, items: Sequence[Item]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for row, tokens in items:
            archive.writestr(zipfile.ZipInfo(f"{row['key']}.npy"), _npy_bytes(tokens))


def _read_npz(
    path: Path, rows: Sequence[Row], layout: Layout
) -> Iterator[tuple[Row, NDArray[Any]]]:
    with zipfile.ZipFile(path) as archive:
        for row in rows:
            info = archive.getinfo(f"{row['key']}.npy")
            if info.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{info.filename} is compressed")
            with archive.open(info) as stream:
                yield row, _read_npy(stream, min(info.file_size, info.compress_size), row, layout)


def _write_safetensors(path: Path, items: Sequence[Item]) -> None:
    from safetensors.numpy import save

    path.write_bytes(save({row["key"]: tokens for row, tokens in items}))


def _read_safetensors(
    path: Path, rows: Sequence[Row], layout: Layout
) -> Iterator[tuple[Row, NDArray[Any]]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            for row in rows:
                tokens = file.get_tensor(row["key"])
                wanted = layout.shape(n_frames_of(row))
                if tokens.shape != wanted or tokens.dtype != layout.dtype:
                    raise ValueError(f"{row['key']}: {tokens.shape}, expected {wanted}")
                yield row, tokens
    except SafetensorError as error:
        raise ValueError(str(error)) from None


def _write_tar(path: Path, items: Sequence[Item]) -> None:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for row, tokens in items:
            members = {"json": json.dumps(row).encode(), "npy": _npy_bytes(tokens)}
            for suffix, content in members.items():
                member = tarfile.TarInfo(f"{row['key']}.{suffix}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))


def _read_tar(
    path: Path, rows: Sequence[Row], layout: Layout
) -> Iterator[tuple[Row, NDArray[Any]]]:
    with tarfile.open(path, "r:") as archive:
        members = {member.name: member for member in archive if member.isreg()}
        for row in rows:
            member = members[f"{row['key']}.npy"]
            stream = archive.extractfile(member)
            yield row, _read_npy(stream, member.size, row, layout)


def _write_parquet(path: Path, items: Sequence[Item]) -> None:
    pa = pyarrow()
    arrays = [tokens for _, tokens in items]
    codes = pa.array(np.concatenate([tokens.reshape(-1) for tokens in arrays]))
    for axis in range(arrays[0].ndim)[::-1]:  # lists of codes, then lists of these
        lengths = [np.full(prod(one.shape[:axis]), one.shape[axis]) for one in arrays]
        ends = np.concatenate([[0], np.concatenate(lengths)]).cumsum()
        codes = pa.ListArray.from_arrays(pa.array(ends, pa.int32()), codes)
    columns = {"codes": codes, **as_columns([row for row, _ in items])}
    pa.parquet.write_table(pa.table(columns), path)


def as_columns(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the rows as arrays of pyarrow, of types that do not depend on what is in them."""
    pa = pyarrow()
    texts = pa.list_(pa.list_(pa.string()))
    kinds = {
        "tags": texts, "extensions": texts, "packet_frames": pa.list_(pa.int64()),
        "scales": pa.list_(pa.list_(pa.float64())), "duration": pa.float64(),
    }  # fmt: skip
    kinds |= dict.fromkeys(("key", "shard", "path", "model", "fingerprint"), pa.string())
    kinds |= dict.fromkeys(("speaker", "text"), pa.string())
    return {
        name: pa.array([row[name] for row in rows], kinds.get(name, pa.int64())) for name in rows[0]
    }


def _read_parquet(
    path: Path, rows: Sequence[Row], layout: Layout
) -> Iterator[tuple[Row, NDArray[Any]]]:
    pa = pyarrow()
    wanted = iter(rows)
    try:
        with pa.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(_AT_ONCE, columns=["key", "codes"]):
                for key, codes in zip(batch["key"], batch["codes"], strict=True):
                    row = next(wanted, None)
                    if row is None or row["key"] != key.as_py():
                        raise ValueError(f"{key} is not the clip that follows")
                    yield row, _from_lists(codes.values, layout, row)
    except (pa.ArrowException, OverflowError) as error:
        raise ValueError(str(error)) from None
    if (row := next(wanted, None)) is not None:
        raise ValueError(f"{row['key']} is missing")


def _from_lists(codes: Any, layout: Layout, row: Row) -> NDArray[Any]:
    """Return the tokens of a value of a parquet file. Raises ValueError."""
    shape = layout.shape(n_frames_of(row))
    if len(shape) == 2:
        lengths, codes = codes.value_lengths().to_pylist(), codes.flatten()
        if lengths != [shape[1]] * shape[0]:
            raise ValueError(f"{row['key']}: lists of {lengths} codes, expected {shape}")
    tokens = codes.to_numpy(zero_copy_only=False)
    if tokens.size != prod(shape) or tokens.dtype != layout.dtype:
        raise ValueError(f"{row['key']}: {tokens.size} codes {tokens.dtype}, expected {shape}")
    return tokens.reshape(shape)


_Reader = Callable[[Path, Sequence[Row], Layout], Iterator[tuple[Row, NDArray[Any]]]]
_WRITERS: dict[str, Callable[[Path, Sequence[Item]], None]] = {
    "npy": _write_npy, "npz": _write_npz, "safetensors": _write_safetensors,
    "parquet": _write_parquet, "webdataset": _write_tar,
}  # fmt: skip
_READERS: dict[str, _Reader] = {
    "npy": _read_npy_shard, "npz": _read_npz, "safetensors": _read_safetensors,
    "parquet": _read_parquet, "webdataset": _read_tar,
}  # fmt: skip
