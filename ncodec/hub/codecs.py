"""Files of codecs: found by name or by digest, loaded, saved."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ncodec.errors import ModelInvalid, ModelMissing, UsageError
from ncodec.hub.model_files import Loaded, ModelKind, StoredModel, in_package
from ncodec.hub.public import hint
from ncodec.models.registry import architecture, kernel_architecture
from ncodec.native import chosen_path

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

    from ncodec.models.base import Codec, CodecConfig
    from ncodec.models.torch_codec import TorchCodec

DEFAULT_MODEL = "spectral"
_SIZES = ("sample_rate_hz", "n_channels", "samples_per_frame", "n_codebooks", "codebook_size")


@dataclass(frozen=True, slots=True)
class ModelFile(StoredModel):
    """What the file of a codec says of itself."""

    architecture: str


class _CodecFiles(ModelKind[ModelFile, Loaded]):
    name, noun, folder, key = "codec", "model", ".", "ncodec"
    entries: ClassVar[Mapping[str, type]] = {"architecture": str}

    def _described(self, stored: Mapping[str, Any], about: Mapping[str, Any]) -> ModelFile:
        sizes = (about["config"][name] for name in _SIZES)
        if not all(isinstance(size, int) and size > 0 for size in sizes):
            raise ValueError(f"config needs positive {', '.join(_SIZES)}")
        if not isinstance(about["config"]["bandwidths_kbps"], list):
            raise TypeError("config needs a list of bandwidths_kbps")
        return ModelFile(**stored, architecture=about["architecture"])


class _KernelCodecs(_CodecFiles["Codec"]):
    """Codecs as files need them, by the kernel. Without torch."""

    def _build(self, file: ModelFile, arrays: "dict[str, NDArray[Any]]", device: str) -> "Codec":
        make, path = kernel_architecture(file.architecture), chosen_path()
        assert make is not None  # noqa: S101 # `load_codec` has asked
        assert path is not None  # noqa: S101
        return make(file.config, arrays, path)


class _TorchCodecs(_CodecFiles["TorchCodec"]):
    """Codecs as modules of torch."""

    def _build(
        self, file: ModelFile, arrays: "dict[str, NDArray[Any]]", device: str
    ) -> "TorchCodec":
        """Return the codec, ready to run in float32."""
        kind = architecture(file.architecture)
        import torch

        try:
            codec = kind(kind.config_class.from_dict(dict(file.config)))
        except (ModelInvalid, TypeError, ValueError, RuntimeError) as error:
            raise ModelInvalid(str(error).splitlines()[0]) from None
        try:
            codec.load_state_dict(
                {name: torch.from_numpy(array.astype("f4")) for name, array in arrays.items()}
            )
        except RuntimeError as error:
            raise ModelInvalid(f"weights do not fit the architecture: {str(error)[:200]}") from None
        return codec.eval().requires_grad_(False).to(device)


CODECS, _TORCH_CODECS = _KernelCodecs(), _TorchCodecs()
installed, find_exact = CODECS.installed, CODECS.find_exact
load_torch_codec = _TORCH_CODECS.load


def load_codec(file: ModelFile, device: str = "cpu") -> "Codec":
    """Return a codec ready to run: on a processor by the kernel, where that has its architecture.

    device  of torch

    Raises ModelInvalid, ModelMissing.
    """
    if device == "cpu" and chosen_path() and kernel_architecture(file.architecture):
        return CODECS.load(file)
    return load_torch_codec(file, device)


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
        if not in_package(model):
            return model
    if of_kind:
        return of_kind[0]
    known = ", ".join(dict.fromkeys(model.model_id for model in models)) or "none"
    faults = "".join(f"; {error}" for error in invalid)
    raise ModelMissing(f"model {name!r}: not installed; installed: {known}{hint(name)}{faults}")


def choose_n_q(model: ModelFile, bandwidth_kbps: float | None, n_q: int | None) -> int:
    """Return how many codebooks to use, given at most one of the two. Raises UsageError."""
    config = load_codec(model).config
    if n_q is None:
        if bandwidth_kbps is None:
            bandwidth_kbps = config.default_bandwidth_kbps
        if not math.isfinite(bandwidth_kbps):
            raise UsageError(f"bandwidth {bandwidth_kbps:g} kbps: expected a number")
        return config.n_q_for(bandwidth_kbps)
    if bandwidth_kbps is not None:
        raise UsageError("give a bandwidth or a number of codebooks, not both")
    if n_q not in config.n_q_choices:
        raise UsageError(
            f"{n_q} codebooks: model {model.model_id!r} has {config.named_n_q_choices}"
        )
    return n_q


def save_codec(
    path: Path, model_id: str, codec: "TorchCodec", facts: Mapping[str, Any],
    dtype: "torch.dtype | None" = None,
) -> None:  # fmt: skip
    """Write a codec's weights, with all that a decoder must know.

    dtype  of the numbers in the file; half precision by default
    """
    import torch

    about = {
        "model_id": model_id,
        "architecture": codec.name,
        "config": codec.config.to_dict(),
        "facts": dict(facts),
    }
    tensors = {
        name: tensor.detach().cpu().to(dtype or torch.float16)
        for name, tensor in codec.state_dict().items()
    }
    CODECS.write(path, about, tensors)


def save_tensors(
    path: Path, model_id: str, architecture_name: str, config: "CodecConfig",
    tensors: "Mapping[str, Tensor]", facts: Mapping[str, Any],
) -> None:  # fmt: skip
    """Write a codec of these weights, in single precision.

    Raises ModelInvalid if they are not those of the architecture, ModelMissing if it is unknown.
    """
    import torch

    codec = architecture(architecture_name)(config)
    try:
        codec.load_state_dict(tensors)
    except RuntimeError as error:
        raise ModelInvalid(
            f"weights do not fit the architecture {architecture_name!r}: {str(error)[:200]}"
        ) from None
    save_codec(path, model_id, codec, facts, torch.float32)
