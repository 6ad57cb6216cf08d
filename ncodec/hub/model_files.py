"""Model files of any kind: one self-describing .safetensors each, named by its digest.

A listing reads only headers.
"""

import functools
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from ncodec.errors import ModelInvalid, ModelMismatch, ModelMissing
from ncodec.formats.atomic_files import atomic_output
from ncodec.hub.public import Kind, hint
from ncodec.hub.tensor_file import METADATA, Stamp, TensorFile, read_header

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

mapped = functools.lru_cache(maxsize=8)(TensorFile)
"""The files that were used last, so that none is hashed twice."""

SHIPPED = Path(__file__).parents[1] / "weights"
FINGERPRINT_BYTES = 4
SUPERSEDES = "stands_for"  # key among the facts of a model: fingerprints, in hexadecimal
_ENTRIES: dict[str, type] = {"model_id": str, "config": dict, "facts": dict}  # of every kind


@dataclass(frozen=True, slots=True)
class StoredModel:
    """What a model file of any kind says of itself."""

    path: Path
    model_id: str
    config: Mapping[str, Any] = field(hash=False)
    facts: Mapping[str, Any] = field(hash=False)  # licence, steps, hours and the like
    n_parameters: int
    stamp: Stamp  # when it was described

    @property
    def sha256(self) -> str:
        """Digest of the file, computed when it is first asked for.

        Raises ModelInvalid if the file has changed since it was described.
        """
        return mapped(self.path, self.stamp).sha256

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


def metadata_of(path: Path) -> Mapping[str, Any]:
    """Return the metadata of a .safetensors file, of whatever origin. Raises ModelInvalid."""
    header: object = read_header(path)[0]
    metadata = header.get(METADATA) if isinstance(header, dict) else None
    return metadata if isinstance(metadata, dict) else {}


def _read_about(
    path: Path, key: str, kinds: Mapping[str, type]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what the metadata of a model file hold under `key`, and the fields of `StoredModel`.

    kinds  of the entries that must be there

    Raises ModelInvalid.
    """
    header, stamp = read_header(path)
    try:
        about = json.loads(header.pop(METADATA, {})[key])
        counts = [
            functools.reduce(lambda a, b: a * b, entry["shape"], 1) for entry in header.values()
        ]
        for name, kind in kinds.items():
            if not isinstance(about[name], kind):
                raise TypeError(f"{name} is {about[name]!r}")
        stored = {
            "path": path,
            "model_id": about["model_id"],
            "config": about["config"],
            "facts": about["facts"],
            "n_parameters": sum(counts),
            "stamp": stamp,
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
    def _build(self, file: File, arrays: "dict[str, NDArray[Any]]", device: str) -> Loaded:
        """Return what a file and its tensors make. Raises ModelInvalid, TypeError.

        arrays  of the tensors, read-only
        """

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
        return self._load(file, device)

    def _load_file(self, file: File, device: str) -> Loaded:
        arrays = mapped(file.path, file.stamp).arrays()
        try:
            return self._build(file, arrays, device)
        except (ModelInvalid, TypeError) as error:
            raise ModelInvalid(f"{file.path}: {error}") from None

    def write(
        self, path: Path, about: Mapping[str, Any], tensors: "Mapping[str, Tensor | NDArray[Any]]"
    ) -> None:
        """Write a file of this kind: what it says of itself, and its tensors."""
        import numpy as np
        from safetensors.numpy import save

        path.parent.mkdir(parents=True, exist_ok=True)
        whole = {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}
        with atomic_output(path, overwrite=True) as partial:
            partial.write_bytes(save(whole, {self.key: json.dumps(dict(about), sort_keys=True)}))
