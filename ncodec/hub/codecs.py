"""Model files: one self-describing .safetensors each, found by id, named by its digest.

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
from typing import TYPE_CHECKING, Any, TypeVar

from ncodec.errors import ModelInvalid, ModelMismatch, ModelMissing
from ncodec.hub.public import hint

if TYPE_CHECKING:
    import torch

    from ncodec.models.base import Codec, CodecConfig

SHIPPED = Path(__file__).parents[1] / "weights"
HEADER_LIMIT = 1 << 20
FINGERPRINT_BYTES = 4
STANDS_FOR = "stands_for"  # among the facts of a model
_ABOUT = {"model_id": str, "architecture": str, "config": dict, "facts": dict}
_SIZES = ("sample_rate_hz", "n_channels", "samples_per_frame", "n_codebooks", "codebook_size")


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


@dataclass(frozen=True, slots=True)
class ModelFile(StoredModel):
    """What the file of a codec says of itself."""

    architecture: str
    config: Mapping[str, Any]


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


def describe(path: Path) -> ModelFile:
    """Read what the file of a codec says of itself. Raises ModelInvalid."""
    about, stored = read_about(path, "ncodec", _ABOUT)
    try:
        sizes = (about["config"][name] for name in _SIZES)
        if not all(isinstance(size, int) and size > 0 for size in sizes):
            raise ValueError(f"config needs positive {', '.join(_SIZES)}")
        if not isinstance(about["config"]["bandwidths_kbps"], list):
            raise TypeError("config needs a list of bandwidths_kbps")
    except (KeyError, TypeError, ValueError) as error:
        raise ModelInvalid(f"{path}: not a model file of ncodec: {error}") from None
    return ModelFile(**stored, architecture=about["architecture"], config=about["config"])


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


def installed(on_invalid: Callable[[ModelInvalid], None] = ignore) -> list[ModelFile]:
    """Return all models that are there: those of the package, then those of the cache.

    An id may come more than once, with other weights: files keep to those they were made with.

    on_invalid  called for each file that is not a model: one bad file must not hide the others
    """
    return described(".", describe, on_invalid)


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


def find(name: str) -> ModelFile:
    """Return the model of that id, or the default model of the architecture of that name.

    That is the first of the cache, for whoever has put it there wants it; else that of the package.

    Raises ModelMissing, which also names the files that could not be read.
    """
    invalid: list[ModelInvalid] = []
    models = installed(invalid.append)
    for model in models:
        if model.model_id == name:
            return model
    of_kind = [model for model in models if model.architecture == name]
    for model in of_kind:
        if model.path.parent != SHIPPED:
            return model
    if of_kind:
        return of_kind[0]
    known = ", ".join(dict.fromkeys(model.model_id for model in models)) or "none"
    faults = "".join(f"; {error}" for error in invalid)
    raise ModelMissing(f"model {name!r}: not installed; installed: {known}{hint(name)}{faults}")


def find_exact(model_id: str, fingerprint: bytes) -> ModelFile:
    """Return the very codec that a file was made with. Raises ModelMissing, ModelMismatch."""
    return find_among(installed(), "model", model_id, fingerprint)


def load_codec(model: ModelFile, device: str = "cpu") -> "Codec":
    """Return the codec of a model file, ready to run in float32. Raises ModelInvalid.

    device  that its networks run on, as torch names it
    """
    return _load(model.path, model.sha256, device)


def read_unchanged(path: Path, sha256: str) -> bytes:
    """Return the content of a model file. Raises ModelInvalid if it is not what it was."""
    blob = path.read_bytes()
    if hashlib.sha256(blob).hexdigest() != sha256:
        raise ModelInvalid(f"{path}: changed while it was read")
    return blob


@functools.lru_cache(maxsize=2)
def _load(path: Path, sha256: str, device: str) -> "Codec":
    from safetensors import SafetensorError
    from safetensors.torch import load

    from ncodec.models.registry import architecture

    blob = read_unchanged(path, sha256)
    about = describe(path)
    kind = architecture(about.architecture)
    try:
        codec = kind(kind.config_class.from_dict(dict(about.config)))
    except (ModelInvalid, TypeError, ValueError, RuntimeError) as error:
        raise ModelInvalid(f"{path}: {str(error).splitlines()[0]}") from None
    try:
        codec.load_state_dict({name: tensor.float() for name, tensor in load(blob).items()})
    except (RuntimeError, SafetensorError) as error:
        raise ModelInvalid(
            f"{path}: weights do not fit the architecture: {str(error)[:200]}"
        ) from None
    return codec.eval().requires_grad_(False).to(device)


def save_codec(
    path: Path, model_id: str, codec: "Codec", facts: Mapping[str, Any],
    dtype: "torch.dtype | None" = None,
) -> None:  # fmt: skip
    """Write a codec's weights, with all that a decoder must know.

    dtype  of the numbers in the file; half precision by default
    """
    import torch
    from safetensors.torch import save

    about = {
        "model_id": model_id,
        "architecture": codec.name,
        "config": codec.config.to_dict(),
        "facts": dict(facts),
    }
    tensors = {
        name: tensor.detach().cpu().to(dtype or torch.float16).contiguous()
        for name, tensor in codec.state_dict().items()
    }
    write_model(path, save(tensors, {"ncodec": json.dumps(about, sort_keys=True)}))


def save_tensors(
    path: Path, model_id: str, architecture_name: str, config: "CodecConfig",
    tensors: "Mapping[str, torch.Tensor]", facts: Mapping[str, Any],
) -> None:  # fmt: skip
    """Write a codec of these weights, in single precision.

    Raises ModelInvalid if they are not those of the architecture, ModelMissing if it is unknown.
    """
    import torch

    from ncodec.models.registry import architecture

    codec = architecture(architecture_name)(config)
    try:
        codec.load_state_dict(tensors)
    except RuntimeError as error:
        raise ModelInvalid(
            f"weights do not fit the architecture {architecture_name!r}: {str(error)[:200]}"
        ) from None
    save_codec(path, model_id, codec, facts, torch.float32)


def write_model(path: Path, blob: bytes) -> None:
    """Write a model file beside, then rename."""
    beside = path.with_name(f".{path.name}.tmp")
    try:
        beside.write_bytes(blob)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
