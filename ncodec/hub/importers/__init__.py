"""Public checkpoints of other projects, recognised and made into model files of ncodec.

A module of `CONVERTERS` has a function `convert(state, config)`: state is the tensors of the
checkpoint by name, config what its config.json or the file itself says of the model, None without
either. It returns None if the checkpoint is not one of its kind, a `Converted` or `ConvertedLm` if
it is, and raises ModelInvalid, which names the tensor and what was expected, if it is one that was
altered.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ncodec.errors import ModelInvalid, UsageError
from ncodec.formats.atomic_files import atomic_output
from ncodec.hub.cache import KINDS, check_name, named, place
from ncodec.hub.importers.base import Converted, ConvertedLm
from ncodec.hub.importers.reading import is_safetensors, read, weights_of
from ncodec.hub.model_files import StoredModel, in_package, mapped, metadata_of
from ncodec.hub.public import Kind

if TYPE_CHECKING:
    from torch import Tensor

CONVERTERS = (
    "ncodec.hub.importers.encodec", "ncodec.hub.importers.hilcodec", "ncodec.hub.importers.snac",
    "ncodec.hub.importers.encodec_lm", "ncodec.hub.importers.dac", "ncodec.hub.importers.mimi",
)  # fmt: skip
KNOWN = "EnCodec, its language models, HILCodec, DAC, SNAC, Mimi, model files of ncodec"


@dataclass(frozen=True, slots=True)
class OwnModel:
    """A model file of ncodec, which is taken as it is: files name it by its digest."""

    kind: Kind
    model: StoredModel

    @property
    def model_id(self) -> str:
        """The name it is installed by."""
        return self.model.model_id

    def save(self, path: Path, name: str) -> None:
        """Copy the file."""
        shutil.copyfile(self.model.path, path)


Found = Converted | ConvertedLm | OwnModel


def recognise(path: Path, config: Mapping[str, Any] | None = None) -> Found:
    """Read a checkpoint or a model file, or the folder it is in.

    config  what config.json would say, for a checkpoint without one

    Raises ModelInvalid for what is unknown, damaged or altered.
    """
    file = weights_of(path)
    own = _own_model(file) if is_safetensors(file) else None
    if own is not None:
        return own
    checkpoint = read(path)
    if checkpoint.config is not None or config is None:
        config = checkpoint.config
    try:
        converted = _convert(checkpoint.state, config)
    except ModelInvalid as error:
        raise ModelInvalid(f"{file}: {error}") from None
    if converted is None:
        first = ", ".join(list(checkpoint.state)[:3]) or "none"
        raise ModelInvalid(f"{file}: expected one of {KNOWN}; the first tensors are {first}")
    return converted


def install(found: Found, name: str | None = None, *, overwrite: bool = False) -> Path:
    """Put a model into the cache and return its file there.

    name  in place of found.model_id; ncodec's own model files keep theirs

    Raises OutputExists, UsageError.
    """
    name = name or found.model_id
    path = place(found.kind, name)
    if isinstance(found, OwnModel):
        if name != found.model_id:
            raise UsageError(
                f"{found.model.path}: a model file of ncodec keeps its name, {found.model_id!r}"
            )
    elif any(in_package(model) for model in named(found.kind, name)):
        raise UsageError(f"{name!r} is a model of the package; another name is needed")
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_output(path, overwrite) as partial:
        found.save(partial, name)
    return path


def _convert(
    state: "Mapping[str, Tensor]", config: Mapping[str, Any] | None
) -> Converted | ConvertedLm | None:
    for name in CONVERTERS:
        converted = import_module(name).convert(state, config)
        if converted is not None:
            return converted
    return None


def _own_model(path: Path) -> OwnModel | None:
    metadata = metadata_of(path)
    kind = next((kind for kind in KINDS.values() if kind.key in metadata), None)
    if kind is None:
        return None
    model = kind.describe(path)
    mapped(path, model.stamp).arrays()  # checks that they fill the file
    try:
        check_name(model.model_id)
    except UsageError as error:
        raise ModelInvalid(f"{path}: damaged model file: {error}") from None
    return OwnModel(kind.name, model)
