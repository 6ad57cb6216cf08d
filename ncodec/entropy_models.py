"""Files of entropy models: one .safetensors each, made for the very weights of one codec.

They lie in the folder `entropy` beside the codecs' files, of the package and of the cache.
"""

import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ncodec.errors import ModelInvalid, ModelMissing, UsageError
from ncodec.formats.ncx import ENTROPY_CODERS
from ncodec.weights import (
    ModelFile,
    StoredModel,
    described,
    exact,
    read_about,
    read_unchanged,
    write_model,
)

if TYPE_CHECKING:
    from torch import Tensor

    from ncodec.entropy.network import EntropyConfig, Network

FOLDER = "entropy"
_KEY = "ncodec-entropy"
_ABOUT = {"model_id": str, "codec_id": str, "codec_fingerprint": str, "config": dict, "facts": dict}


@dataclass(frozen=True, slots=True)
class EntropyModelFile(StoredModel):
    """What the file of an entropy model says of itself."""

    codec_id: str
    codec_fingerprint: bytes  # of the codec whose codes it was trained on
    config: Mapping[str, Any]


def describe(path: Path) -> EntropyModelFile:
    """Read what the file of an entropy model says of itself. Raises ModelInvalid."""
    about, stored = read_about(path, _KEY, _ABOUT)
    try:
        fingerprint = bytes.fromhex(about["codec_fingerprint"])
    except ValueError as error:
        raise ModelInvalid(f"{path}: not a model file of ncodec: {error}") from None
    return EntropyModelFile(
        **stored, codec_id=about["codec_id"], codec_fingerprint=fingerprint, config=about["config"]
    )


def installed(on_invalid: Callable[[ModelInvalid], None]) -> list[EntropyModelFile]:
    """Return all entropy models that are there; see `ncodec.weights.installed`."""
    return described(FOLDER, describe, on_invalid)


def find_for(codec: ModelFile) -> EntropyModelFile | None:
    """Return an entropy model for the codes of a codec, None if there is none."""
    for model in installed(lambda error: None):
        if (model.codec_id, model.codec_fingerprint) == (codec.model_id, codec.fingerprint):
            return model
    return None


def find_exact(model_id: str, fingerprint: bytes) -> EntropyModelFile:
    """Return the very entropy model of a file. Raises ModelMissing, ModelMismatch."""
    return exact("entropy model", model_id, fingerprint, installed(lambda error: None))


def load_network(model: EntropyModelFile, device: str = "cpu") -> "Network":
    """Return the network of a file, every bound on its sums checked. Raises ModelInvalid."""
    return _load(model.path, model.sha256, device)


@functools.lru_cache(maxsize=2)
def _load(path: Path, sha256: str, device: str) -> "Network":
    from safetensors import SafetensorError
    from safetensors.torch import load

    from ncodec.entropy.arithmetic import small_products_pay
    from ncodec.entropy.network import EntropyConfig, build, check

    blob = read_unchanged(path, sha256)
    try:
        config = EntropyConfig(**describe(path).config)
        tensors = load(blob)
        check(config, tensors)
    except (ModelInvalid, TypeError, SafetensorError) as error:
        raise ModelInvalid(f"{path}: {error}") from None
    real = {name: tensor.float().to(device) for name, tensor in tensors.items()}
    return build(config, real, small=device == "cpu" and small_products_pay())


def save_network(
    path: Path, model_id: str, codec: ModelFile, config: "EntropyConfig",
    tensors: "Mapping[str, Tensor]", facts: Mapping[str, Any],
) -> None:  # fmt: skip
    """Write an entropy model. Raises ModelInvalid where a sum could leave what float32 holds."""
    from safetensors.torch import save

    from ncodec.entropy.network import check

    check(config, tensors)
    about = {
        "model_id": model_id,
        "codec_id": codec.model_id,
        "codec_fingerprint": codec.fingerprint.hex(),
        "config": asdict(config),
        "facts": dict(facts),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    blob = save({name: tensor.contiguous() for name, tensor in tensors.items()},
                {_KEY: json.dumps(about, sort_keys=True)})  # fmt: skip
    write_model(path, blob)


@dataclass(frozen=True, slots=True)
class Entropy:
    """An entropy coder, and its model if it has one."""

    name: str
    model: EntropyModelFile | None = None

    def header_fields(self) -> dict[str, Any]:
        """Return what a header says of it."""
        (number,) = (number for number, name in ENTROPY_CODERS.items() if name == self.name)
        fields: dict[str, Any] = {"entropy": number}
        if self.model is not None:
            fields["entropy_model_id"] = self.model.model_id
            fields["entropy_fingerprint"] = self.model.fingerprint
        return fields


def choose_entropy(model: ModelFile, name: str | None) -> Entropy:
    """Return the coder of that name for the codes of a codec model.

    Without a name, it is the transformer where it has a model for this codec, else `adaptive`.
    Raises ModelMissing for a transformer without one, UsageError for an unknown name.
    """
    if name is not None and name not in ENTROPY_CODERS.values():
        known = ", ".join(ENTROPY_CODERS.values())
        raise UsageError(f"entropy coder {name!r} is unknown; expected one of {known}")
    if name not in (None, "transformer"):
        return Entropy(name)
    entropy_model = find_for(model)
    if entropy_model is not None:
        load_network(entropy_model)  # a broken one is found before anything is written
        return Entropy("transformer", entropy_model)
    if name is None:
        return Entropy("adaptive")
    raise ModelMissing(
        f"entropy coder 'transformer': no entropy model for weights {model.fingerprint.hex()} of "
        f"model {model.model_id!r} is installed; `ncodec train-entropy` makes one"
    )
