"""Files of EnCodec's language models: one .safetensors each, named after the codec's model.

They lie in the folder `ecdc-lm` next to the codecs' files, of the package and of the cache. An
.ecdc file does not say which weights it was written with: there is one language model for each
model.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ncodec.hub.model_files import ModelKind, StoredModel

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from ncodec.models.encodec_lm import EncodecLm, LmConfig


class _LanguageModels(ModelKind[StoredModel, "EncodecLm"]):
    name, noun, folder, key = "ecdc-lm", "language model", "ecdc-lm", "ncodec-ecdc-lm"

    def _described(self, stored: Mapping[str, Any], about: Mapping[str, Any]) -> StoredModel:
        return StoredModel(**stored)

    def _build(
        self, file: StoredModel, arrays: "dict[str, NDArray[Any]]", device: str
    ) -> "EncodecLm":
        import torch

        from ncodec.models.encodec_lm import EncodecLm, LmConfig

        tensors = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
        return EncodecLm.from_tensors(LmConfig.from_dict(file.config), tensors).to(device)


LANGUAGE_MODELS = _LanguageModels()
"""Of each of them, `model_id` is that of the codec."""

installed, load = LANGUAGE_MODELS.installed, LANGUAGE_MODELS.load


def find_for(model_id: str) -> StoredModel | None:
    """Return the language model of a codec's model, None if there is none.

    Of several, one of the cache comes before one of the package, the last by name before others.
    """
    return next((file for file in reversed(installed()) if file.model_id == model_id), None)


def save(
    path: Path, model_id: str, config: "LmConfig", tensors: "Mapping[str, Tensor]",
    facts: Mapping[str, Any],
) -> None:  # fmt: skip
    """Write a language model in float32: any rounding would give other probabilities.

    model_id  of the codec's model

    Raises ModelInvalid unless the tensors are those of the config.
    """
    from ncodec.models.encodec_lm import check

    check(config, tensors)
    about = {"model_id": model_id, "config": config.to_dict(), "facts": dict(facts)}
    LANGUAGE_MODELS.write(path, about, {name: tensor.float() for name, tensor in tensors.items()})
