"""Model files of any kind: one self-describing .safetensors each, named by its digest.

The header of a .safetensors file is JSON, so a listing reads no weights and needs no torch.
"""

import functools
import hashlib
import json
import os
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ncodec.errors import ModelInvalid, ModelMismatch, ModelMissing
from ncodec.hub.public import hint

SHIPPED = Path(__file__).parents[1] / "weights"
HEADER_LIMIT = 1 << 20
FINGERPRINT_BYTES = 4
STANDS_FOR = "stands_for"  # among the facts of a model


@dataclass(frozen=True, slots=True)
class StoredModel:
    """What a model file of any kind says of itself."""

    path: Path
    model_id: str
    facts: Mapping[str, Any]  # licence, steps, hours and the like
    n_parameters: int
    stamp: tuple[int, int]  # size and time of change when it was described

    @property
    def sha256(self) -> str:
        """Digest of the file, computed when it is first asked for."""
        return _sha256(self.path, self.stamp)

    @property
    def fingerprint(self) -> bytes:
        """First bytes of the digest, as they stand in the header of a .ncx file."""
        return bytes.fromhex(self.sha256)[:FINGERPRINT_BYTES]

    @property
    def stands_for(self) -> frozenset[bytes]:
        """Fingerprints of the files before it whose codes mean the same: it decodes theirs too."""
        named = self.facts.get(STANDS_FOR, [])
        try:
            return frozenset(bytes.fromhex(name) for name in named)
        except (TypeError, ValueError):
            return frozenset()

    def succession(self) -> list[str]:
        """Return what a file that stands for this one, and for what it does, says of it."""
        return [self.fingerprint.hex(), *sorted(name.hex() for name in self.stands_for)]


def _read_header(path: Path) -> dict[str, Any]:
    with path.open("rb") as stream:
        start = stream.read(8)
        if len(start) < 8:
            raise ModelInvalid(f"{path}: not a .safetensors file: {len(start)} bytes")
        (size,) = struct.unpack("<Q", start)
        if size > HEADER_LIMIT:
            raise ModelInvalid(f"{path}: header of {size} bytes, the limit is {HEADER_LIMIT}")
        try:
            return json.loads(stream.read(size))
        except ValueError as error:
            raise ModelInvalid(f"{path}: header is not JSON: {error}") from None
        except RecursionError:
            raise ModelInvalid(f"{path}: header is nested too deep") from None


@functools.cache
def _sha256(path: Path, _stamp: tuple[int, int]) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def metadata_of(path: Path) -> Mapping[str, Any]:
    """Return the metadata of a .safetensors file, of whatever origin. Raises ModelInvalid."""
    header: object = _read_header(path)
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    return metadata if isinstance(metadata, dict) else {}


def read_about(
    path: Path, key: str, kinds: Mapping[str, type]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what the metadata of a model file hold under `key`, and the facts of `StoredModel`.

    kinds  of the entries that must be there

    Raises ModelInvalid.
    """
    header = _read_header(path)
    try:
        about = json.loads(header.pop("__metadata__", {})[key])
        counts = [
            functools.reduce(lambda a, b: a * b, entry["shape"], 1) for entry in header.values()
        ]
        for name, kind in kinds.items():
            if not isinstance(about[name], kind):
                raise TypeError(f"{name} is {about[name]!r}")
        stat = path.stat()
        stored = {
            "path": path,
            "model_id": about["model_id"],
            "facts": about["facts"],
            "n_parameters": sum(counts),
            "stamp": (stat.st_size, stat.st_mtime_ns),
        }
    except RecursionError:
        raise ModelInvalid(f"{path}: metadata are nested too deep") from None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ModelInvalid(f"{path}: not a model file of ncodec: {error}") from None
    return about, stored


def cache_folder() -> Path:
    """Return where models that did not come with the package are kept.

    `$NCODEC_CACHE`, or `ncodec` below `$XDG_CACHE_HOME` or `~/.cache`.
    """
    if chosen := os.environ.get("NCODEC_CACHE"):
        return Path(chosen)
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "ncodec"
    return Path("~/.cache/ncodec").expanduser() if _has_home() else Path("/nonexistent")


def _has_home() -> bool:
    try:
        Path.home()
    except RuntimeError:  # a user without an entry, as containers have them
        return False
    return True


Stored = TypeVar("Stored", bound=StoredModel)


def ignore(error: ModelInvalid) -> None:
    """Leave a file that is not a model out of account."""


def in_package(model: StoredModel) -> bool:
    """Whether a model came with the package."""
    return model.path.is_relative_to(SHIPPED)


def described(
    inside: str, describe: Callable[[Path], Stored], on_invalid: Callable[[ModelInvalid], None]
) -> list[Stored]:
    """Return what `describe` says of all model files in a folder of the package and of the cache.

    inside  the folder's path within those of the models
    """
    found: list[Stored] = []
    for folder in (SHIPPED / inside, cache_folder() / "models" / inside):
        try:
            paths = sorted(folder.glob("[!.]*.safetensors"))  # a hidden one is in the making
        except OSError as error:
            on_invalid(ModelInvalid(f"{folder}: cannot be read: {error.strerror}"))
            continue
        for path in paths:
            try:
                found.append(describe(path))
            except ModelInvalid as error:
                on_invalid(error)
            except OSError as error:
                on_invalid(ModelInvalid(f"{path}: cannot be read: {error.strerror}"))
    return found


def find_among(models: Sequence[Stored], kind: str, model_id: str, fingerprint: bytes) -> Stored:
    """Return the very model that a file was made with, or one that stands for it.

    Raises ModelMissing, ModelMismatch.

    kind  what the models are, for the message
    """
    of_id = [model for model in models if model.model_id == model_id]
    for model in of_id:
        if model.fingerprint == fingerprint:
            return model
    for model in of_id:
        if fingerprint in model.stands_for:
            return model
    wanted = f"weights {fingerprint.hex()} of {kind} {model_id!r}"
    if not of_id:
        known = ", ".join(dict.fromkeys(model.model_id for model in models)) or "none"
        raise ModelMissing(f"{wanted}: not installed; installed: {known}{hint(model_id)}")
    there = ", ".join(f"{model.fingerprint.hex()} ({model.path.name})" for model in of_id)
    raise ModelMismatch(f"{wanted}: not installed; installed: {there}")


def read_unchanged(path: Path, sha256: str) -> bytes:
    """Return the content of a model file. Raises ModelInvalid if it is not what it was."""
    blob = path.read_bytes()
    if hashlib.sha256(blob).hexdigest() != sha256:
        raise ModelInvalid(f"{path}: changed while it was read")
    return blob


def write_model(path: Path, blob: bytes) -> None:
    """Write a model file beside, then rename."""
    beside = path.with_name(f".{path.name}.tmp")
    try:
        beside.write_bytes(blob)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
