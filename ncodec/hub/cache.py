"""Models as files: where each kind lies in the cache, how they are copied and taken out."""

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ncodec.errors import ModelError, ModelMissing, UsageError
from ncodec.formats.atomic_files import atomic_output
from ncodec.hub.codecs import CODECS
from ncodec.hub.entropy_models import ENTROPY_MODELS
from ncodec.hub.language_models import LANGUAGE_MODELS
from ncodec.hub.model_files import ModelKind, StoredModel, cache_folder, in_package
from ncodec.hub.public import Kind

KINDS: Mapping[Kind, ModelKind[Any, Any]] = {
    kind.name: kind for kind in (CODECS, ENTROPY_MODELS, LANGUAGE_MODELS)
}
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")  # an id of .ncx, but no hidden file


@dataclass(frozen=True, slots=True)
class Removal:
    """What became of the models of a name."""

    removed: Sequence[StoredModel]
    left: Sequence[StoredModel]  # made for those that were removed, of no use without them


def check_name(name: str) -> None:
    """Raise UsageError for a name that a .ncx file or a folder cannot hold."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"name {name!r}: expected 1 to 64 of A-Z a-z 0-9 . _ - and neither . nor - first"
        )


def place(kind: Kind, name: str) -> Path:
    """Return where the cache keeps the model of that name. Raises UsageError."""
    check_name(name)
    return cache_folder() / "models" / KINDS[kind].folder / f"{name}.safetensors"


def named(kind: Kind, name: str) -> list[StoredModel]:
    """Return the models of an id, those of the package before those of the cache."""
    return [model for model in KINDS[kind].installed() if model.model_id == name]


def find(name: str, kind: Kind | None = None) -> tuple[Kind, StoredModel]:
    """Return the model of an id: the codec, else the entropy model, else the language model.

    kind  the only kind to look for

    Raises ModelMissing.
    """
    seen: list[StoredModel] = []
    for candidate in [KINDS[kind]] if kind else KINDS.values():
        models = candidate.installed()
        for model in models:
            if model.model_id == name:
                return candidate.name, model
        seen += models
    ids = dict.fromkeys(model.model_id for model in seen)
    raise ModelMissing(
        f"{kind or 'model'} {name!r}: not installed; installed: {', '.join(ids) or 'none'}"
    )


def export(name: str, output: Path, kind: Kind | None = None, *, overwrite: bool = False) -> Path:
    """Copy the model that `find` finds to a file, or into a folder; return its path there."""
    _, model = find(name, kind)
    if output.is_dir():
        output = output / f"{name}.safetensors"
    with atomic_output(output, overwrite) as partial:
        shutil.copyfile(model.path, partial)
    return output


def remove(name: str, kind: Kind | None = None, *, companions: bool = False) -> Removal:
    """Delete the models of an id from the cache: all those of the kind that `find` finds.

    companions  delete the entropy and language models that were made for those codecs, too

    Raises ModelMissing, ModelError for a model of the package.
    """
    kind, first = find(name, kind)
    removed = [model for model in named(kind, name) if not in_package(model)]
    if not removed:
        raise ModelError(f"{first.path}: came with the package and stays")
    left = _companions(removed) if kind == "codec" else []
    if companions:
        removed, left = removed + left, []
    for model in removed:
        model.path.unlink()
    return Removal(removed, left)


def _companions(removed: Sequence[StoredModel]) -> list[StoredModel]:
    """Return the models of the cache that were made for these codecs, and for none that stays."""
    paths = {codec.path for codec in removed}
    staying = [codec for codec in CODECS.installed() if codec.path not in paths]
    fingerprints = {m.fingerprint for m in removed} - {m.fingerprint for m in staying}
    ids = {m.model_id for m in removed} - {m.model_id for m in staying}
    made_for = [
        *(m for m in ENTROPY_MODELS.installed() if m.codec_fingerprint in fingerprints),
        *(m for m in LANGUAGE_MODELS.installed() if m.model_id in ids),
    ]
    return [model for model in made_for if not in_package(model)]
