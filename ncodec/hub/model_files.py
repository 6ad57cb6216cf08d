"""Model files of any kind: one self-describing .safetensors each, named by its digest.

The header of a .safetensors file is JSON, so a listing reads no weights and needs no torch.
"""

import functools
import hashlib
import json
import os
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from ncodec.errors import ModelInvalid, ModelMismatch, ModelMissing
from ncodec.hub.public import Kind, hint

if TYPE_CHECKING:
    from torch import Tensor

SHIPPED = Path(__file__).parents[1] / "weights"
HEADER_LIMIT = 1 << 20
FINGERPRINT_BYTES = 4
SUPERSEDES = "stands_for"  # key among the facts of a model: fingerprints, in hexadecimal
_ENTRIES: dict[str, type] = {"model_id": str, "config": dict, "facts": dict}  # of every kind


@dataclass(frozen=True, slots=True)
class StoredModel:
    """What a model file of any kind says of itself."""

    path: Path
    model_id: str
    config: Mapping[str, Any]
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
    def supersedes(self) -> frozenset[bytes]:
        """Fingerprints of earlier files whose codes mean the same: this one decodes theirs too."""
        named = self.facts.get(SUPERSEDES, [])
        try:
            return frozenset(bytes.fromhex(name) for name in named)
        except (TypeError, ValueError):
            return frozenset()

    def compatible(self) -> list[str]:
        """Return all fingerprints whose codes this file decodes, for the facts of its successor."""
        return [self.fingerprint.hex(), *sorted(name.hex() for name in self.supersedes)]


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


def _read_about(
    path: Path, key: str, kinds: Mapping[str, type]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what the metadata of a model file hold under `key`, and the fields of `StoredModel`.

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
            "config": about["config"],
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


def ignore(error: ModelInvalid) -> None:
    """Leave a file that is not a model out of account."""


def in_package(model: StoredModel) -> bool:
    """Whether a model came with the package."""
    return model.path.is_relative_to(SHIPPED)


File = TypeVar("File", bound=StoredModel)
Loaded = TypeVar("Loaded")


class ModelKind(ABC, Generic[File, Loaded]):
    """One kind of model files: how they are found, described, loaded and saved.

    Attributes:
        name: what the commands call the kind.
        noun: what messages call a model of it.
        folder: of its files, within those of the package's and of the cache's models.
        key: of the metadata, under which a file says what it is.
        entries: that must be there, besides those of every kind.
    """

    name: ClassVar[Kind]
    noun: ClassVar[str]
    folder: ClassVar[str]
    key: ClassVar[str]
    entries: ClassVar[Mapping[str, type]] = {}

    def __init__(self) -> None:
        self._load = functools.lru_cache(maxsize=2)(self._load_file)

    @abstractmethod
    def _described(self, stored: Mapping[str, Any], about: Mapping[str, Any]) -> File:
        """Return the fields of `StoredModel` and what else metadata say of a file.

        Raises KeyError, TypeError or ValueError for metadata that are not as they should be.
        """

    @abstractmethod
    def _build(self, file: File, tensors: "dict[str, Tensor]", device: str) -> Loaded:
        """Return what a file and its tensors make. Raises ModelInvalid, TypeError."""

    def describe(self, path: Path) -> File:
        """Read what a file of this kind says of itself. Raises ModelInvalid."""
        about, stored = _read_about(path, self.key, _ENTRIES | dict(self.entries))
        try:
            return self._described(stored, about)
        except (KeyError, TypeError, ValueError) as error:
            raise ModelInvalid(f"{path}: not a model file of ncodec: {error}") from None

    def installed(self, on_invalid: Callable[[ModelInvalid], None] = ignore) -> list[File]:
        """Return all models that are there: those of the package, then those of the cache.

        An id may come more than once, with other weights: files keep to those they were made with.

        on_invalid  called for each file that is not a model: one bad file must not hide the others
        """
        found: list[File] = []
        for folder in (SHIPPED / self.folder, cache_folder() / "models" / self.folder):
            try:
                paths = sorted(folder.glob("[!.]*.safetensors"))  # a hidden one is unfinished
            except OSError as error:
                on_invalid(ModelInvalid(f"{folder}: cannot be read: {error.strerror}"))
                continue
            for path in paths:
                try:
                    found.append(self.describe(path))
                except ModelInvalid as error:
                    on_invalid(error)
                except OSError as error:
                    on_invalid(ModelInvalid(f"{path}: cannot be read: {error.strerror}"))
        return found

    def find_exact(self, model_id: str, fingerprint: bytes) -> File:
        """Return the exact model that a file was made with, or one that supersedes it.

        Raises ModelMissing, ModelMismatch.
        """
        models = self.installed()
        of_id = [model for model in models if model.model_id == model_id]
        for model in of_id:
            if model.fingerprint == fingerprint:
                return model
        for model in of_id:
            if fingerprint in model.supersedes:
                return model
        wanted = f"weights {fingerprint.hex()} of {self.noun} {model_id!r}"
        if not of_id:
            known = ", ".join(dict.fromkeys(model.model_id for model in models)) or "none"
            raise ModelMissing(f"{wanted}: not installed; installed: {known}{hint(model_id)}")
        there = ", ".join(f"{model.fingerprint.hex()} ({model.path.name})" for model in of_id)
        raise ModelMismatch(f"{wanted}: not installed; installed: {there}")

    def load(self, file: File, device: str = "cpu") -> Loaded:
        """Return what a file holds, ready to run on a device of torch; the last two are kept.

        Raises ModelInvalid.
        """
        return self._load(file.path, file.sha256, device)

    def _load_file(self, path: Path, sha256: str, device: str) -> Loaded:
        from safetensors import SafetensorError
        if self.name == "codec":
            from safetensors.numpy import load
        else:
            from safetensors.torch import load

        blob, file = read_unchanged(path, sha256), self.describe(path)
        try:
            return self._build(file, load(blob), device)
        except (ModelInvalid, TypeError, SafetensorError) as error:
            raise ModelInvalid(f"{path}: {error}") from None

    def write(self, path: Path, about: Mapping[str, Any], tensors: "Mapping[str, Tensor]") -> None:
        """Write a file of this kind: what it says of itself, and its tensors."""
        from safetensors.torch import save

        path.parent.mkdir(parents=True, exist_ok=True)
        whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
        _replace(path, save(whole, {self.key: json.dumps(dict(about), sort_keys=True)}))


def read_unchanged(path: Path, sha256: str) -> bytes:
    """Return the content of a model file. Raises ModelInvalid if it is not what it was."""
    blob = path.read_bytes()
    if hashlib.sha256(blob).hexdigest() != sha256:
        raise ModelInvalid(f"{path}: changed while it was read")
    return blob


def _replace(path: Path, blob: bytes) -> None:
    """Write a file next to it, then rename."""
    partial = path.with_name(f".{path.name}.tmp")
    try:
        partial.write_bytes(blob)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
