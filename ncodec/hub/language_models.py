"""Files of EnCodec's language models: one .safetensors each, named after the codec's model.

They lie in the folder `ecdc-lm` beside the codecs' files, of the package and of the cache. An .ecdc
file does not say which weights it was written with: there is one language model for each model.
"""

import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ncodec.errors import ModelInvalid
from ncodec.hub.model_files import (
    StoredModel,
    described,
    ignore,
    read_about,
    read_unchanged,
    write_model,
)

if TYPE_CHECKING:
    from torch import Tensor

    from ncodec.models.encodec_lm import EncodecLm, LmConfig

FOLDER = "ecdc-lm"
_KEY = "ncodec-ecdc-lm"
_ABOUT = {"model_id": str, "config": dict, "facts": dict}


@dataclass(frozen=True, slots=True)
class EcdcLmFile(StoredModel):
    """What the file of a language model says of itself; `model_id` is that of the codec."""

    config: Mapping[str, Any]


def describe(path: Path) -> EcdcLmFile:
    """Read what the file of a language model says of itself. Raises ModelInvalid."""
    about, stored = read_about(path, _KEY, _ABOUT)
    return EcdcLmFile(**stored, config=about["config"])


def installed(on_invalid: Callable[[ModelInvalid], None] = ignore) -> list[EcdcLmFile]:
    """Return all language models that are there; see `ncodec.hub.codecs.installed`."""
    return described(FOLDER, describe, on_invalid)


def find_for(model_id: str) -> EcdcLmFile | None:
    """Return the language model of a codec's model, None if there is none.

    Of several, one of the cache comes before one of the package, the last by name before others.
    """
    return next((file for file in reversed(installed()) if file.model_id == model_id), None)


def load(file: EcdcLmFile) -> "EncodecLm":
    """Return the model of a file, ready to run. Raises ModelInvalid."""
    return _load(file.path, file.sha256)


@functools.lru_cache(maxsize=2)
def _load(path: Path, sha256: str) -> "EncodecLm":
    from safetensors import SafetensorError
    from safetensors.torch import load as load_tensors

    from ncodec.models.encodec_lm import EncodecLm, LmConfig

    blob = read_unchanged(path, sha256)
    try:
        config = LmConfig.from_dict(describe(path).config)
        return EncodecLm.from_tensors(config, load_tensors(blob))
    except (ModelInvalid, SafetensorError) as error:
        raise ModelInvalid(f"{path}: {error}") from None


def save(
    path: Path, model_id: str, config: "LmConfig", tensors: "Mapping[str, Tensor]",
    facts: Mapping[str, Any],
) -> None:  # fmt: skip
    """Write a language model in float32: any rounding would give other probabilities.

    model_id  of the codec's model

    Raises ModelInvalid unless the tensors are those of the config.
    """
    from safetensors.torch import save as save_tensors

    from ncodec.models.encodec_lm import check

    check(config, tensors)
    about = {"model_id": model_id, "config": config.to_dict(), "facts": dict(facts)}
    path.parent.mkdir(parents=True, exist_ok=True)
    blob = save_tensors({name: tensor.float().contiguous() for name, tensor in tensors.items()},
                        {_KEY: json.dumps(about, sort_keys=True)})  # fmt: skip
    write_model(path, blob)
