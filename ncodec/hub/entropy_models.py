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
from ncodec.hub.codecs import ModelFile
from ncodec.hub.model_files import (
    STANDS_FOR,
    StoredModel,
    described,
    find_among,
    ignore,
    read_about,
    read_unchanged,
    write_model,
)

if TYPE_CHECKING:
    from torch import Tensor

    from ncodec.entropy.layout import EntropyConfig
    from ncodec.entropy.network import Network

FOLDER = "entropy"
NUMBERS = {name: number for number, name in ENTROPY_CODERS.items()}
_KEY = "ncodec-entropy"
_ABOUT = {"model_id": str, "codec_id": str, "codec_fingerprint": str, "config": dict, "facts": dict}


@dataclass(frozen=True, slots=True)
class EntropyModelFile(StoredModel):
    """What the file of an entropy model says of itself."""

    codec_id: str
    codec_fingerprint: bytes  # of the codec whose codes it was trained on
    config: Mapping[str, Any]

    @property
    def n_codebooks(self) -> int:
        """How many codebooks it has been trained for; any fewer are possible."""
        return self.config["n_codebooks"]


def describe(path: Path) -> EntropyModelFile:
    """Read what the file of an entropy model says of itself. Raises ModelInvalid."""
    about, stored = read_about(path, _KEY, _ABOUT)
    try:
        fingerprint = bytes.fromhex(about["codec_fingerprint"])
        if not isinstance(about["config"]["n_codebooks"], int):
            raise ValueError(f"n_codebooks is {about['config']['n_codebooks']!r}")
    except (KeyError, ValueError) as error:
        raise ModelInvalid(f"{path}: not a model file of ncodec: {error}") from None
    return EntropyModelFile(
        **stored, codec_id=about["codec_id"], codec_fingerprint=fingerprint, config=about["config"]
    )


def installed(on_invalid: Callable[[ModelInvalid], None] = ignore) -> list[EntropyModelFile]:
    """Return all entropy models that are there; see `ncodec.hub.codecs.installed`."""
    return described(FOLDER, describe, on_invalid)


def find_for(codec: ModelFile, n_q: int = 1) -> EntropyModelFile | None:
    """Return an entropy model for `n_q` codebooks of a codec, None if there is none.

    Of several, one of the cache comes before one of the package, the last by name before others.
    """
    for model in reversed(installed()):
        own = (model.codec_id, model.codec_fingerprint) == (codec.model_id, codec.fingerprint)
        if own and model.n_codebooks >= n_q:
            return model
    return None


def find_exact(model_id: str, fingerprint: bytes) -> EntropyModelFile:
    """Return the very entropy model of a file. Raises ModelMissing, ModelMismatch."""
    return find_among(installed(), "entropy model", model_id, fingerprint)


def load_network(model: EntropyModelFile, device: str = "cpu") -> "Network":
    """Return the network of a file, every bound on its sums checked, on a device of torch.

    On every device it finds the same frequencies. Raises ModelInvalid.
    """
    return _load(model.path, model.sha256, device)


@functools.lru_cache(maxsize=2)
def _load(path: Path, sha256: str, device: str) -> "Network":
    from safetensors import SafetensorError
    from safetensors.torch import load

    from ncodec.entropy.arithmetic import small_products
    from ncodec.entropy.layout import EntropyConfig, check, is_matrix
    from ncodec.entropy.network import build

    blob = read_unchanged(path, sha256)
    try:
        config = EntropyConfig(**describe(path).config)
        tensors = load(blob)
        check(config, tensors)
    except (ModelInvalid, TypeError, SafetensorError) as error:
        raise ModelInvalid(f"{path}: {error}") from None
    shapes = frozenset(tuple(t.shape[-2:]) for name, t in tensors.items() if is_matrix(name))
    real = {name: tensor.float().to(device) for name, tensor in tensors.items()}
    return build(config, real, small=device == "cpu" and small_products(shapes))


def save_network(
    path: Path, model_id: str, codec: ModelFile, config: "EntropyConfig",
    tensors: "Mapping[str, Tensor]", facts: Mapping[str, Any],
) -> None:  # fmt: skip
    """Write an entropy model. Raises ModelInvalid where a sum could leave what float32 holds."""
    from safetensors.torch import save

    from ncodec.entropy.layout import check

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


def rebind(model: EntropyModelFile, codec: ModelFile, path: Path) -> None:
    """Write an entropy model anew, for other weights whose codes are the same; it stands for it."""
    from safetensors.torch import load

    from ncodec.entropy.layout import EntropyConfig

    tensors = load(read_unchanged(model.path, model.sha256))
    config = EntropyConfig(**model.config)
    facts = {**model.facts, STANDS_FOR: model.succession()}
    save_network(path, codec.model_id, codec, config, tensors, facts)


@dataclass(frozen=True, slots=True)
class Entropy:
    """An entropy coder, and its model if it has one."""

    name: str
    model: EntropyModelFile | None = None

    def header_fields(self) -> dict[str, Any]:
        """Return what a header says of it."""
        fields: dict[str, Any] = {"entropy": NUMBERS[self.name]}
        if self.model is not None:
            fields["entropy_model_id"] = self.model.model_id
            fields["entropy_fingerprint"] = self.model.fingerprint
        return fields


def choose_entropy(model: ModelFile, name: str | None, n_q: int = 1) -> Entropy:
    """Return the coder of that name for the codes of `n_q` codebooks of a codec model.

    Without a name, it is the transformer where it has a model for this codec, else `adaptive`.
    Raises ModelMissing for a transformer without one, UsageError for an unknown name.
    """
    if name is not None and name not in NUMBERS:
        known = ", ".join(NUMBERS)
        raise UsageError(f"entropy coder {name!r} is unknown; expected one of {known}")
    if name not in (None, "transformer"):
        return Entropy(name)
    entropy_model = find_for(model, n_q)
    if entropy_model is not None:
        load_network(entropy_model)  # a broken one is found before anything is written
        return Entropy("transformer", entropy_model)
    if name is None:
        return Entropy("adaptive")
    raise ModelMissing(
        f"entropy coder 'transformer': no entropy model for {n_q} codebooks of weights "
        f"{model.fingerprint.hex()} of model {model.model_id!r} is installed; "
        "`ncodec train-entropy` makes one"
    )
