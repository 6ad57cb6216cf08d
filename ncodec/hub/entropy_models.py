"""Files of entropy models: one .safetensors each, made for the very weights of one codec.

They lie in the folder `entropy` beside the codecs' files, of the package and of the cache.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ncodec.errors import ModelMissing, UsageError
from ncodec.formats.ncx import CODER_NUMBERS
from ncodec.hub.codecs import ModelFile
from ncodec.hub.model_files import SUPERSEDES, ModelKind, StoredModel, mapped

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ncodec.entropy.layout import EntropyConfig
    from ncodec.entropy.network import Network

WITHOUT_MODEL = "mixed"
"""The coder of codes that have no entropy model."""


@dataclass(frozen=True, slots=True)
class EntropyModelFile(StoredModel):
    """What the file of an entropy model says of itself."""

    codec_id: str
    codec_fingerprint: bytes  # of the codec whose codes it was trained on

    @property
    def n_codebooks(self) -> int:
        """How many codebooks it has been trained for; any fewer are possible."""
        return self.config["n_codebooks"]


class _EntropyModels(ModelKind[EntropyModelFile, "Network"]):
    name, noun, folder, key = "entropy", "entropy model", "entropy", "ncodec-entropy"
    entries: ClassVar[Mapping[str, type]] = {"codec_id": str, "codec_fingerprint": str}

    def _described(self, stored: Mapping[str, Any], about: Mapping[str, Any]) -> EntropyModelFile:
        if not isinstance(about["config"]["n_codebooks"], int):
            raise ValueError(f"n_codebooks is {about['config']['n_codebooks']!r}")
        fingerprint = bytes.fromhex(about["codec_fingerprint"])
        return EntropyModelFile(**stored, codec_id=about["codec_id"], codec_fingerprint=fingerprint)

    def _build(
        self, file: EntropyModelFile, arrays: "dict[str, NDArray[Any]]", device: str
    ) -> "Network":
        """Return the network, every bound on its sums checked.

        device  of its `torch`
        """
        from ncodec.entropy.layout import EntropyConfig
        from ncodec.entropy.network import load

        return load(EntropyConfig(**file.config), arrays, device)


ENTROPY_MODELS = _EntropyModels()
installed, find_exact = ENTROPY_MODELS.installed, ENTROPY_MODELS.find_exact
load_network = ENTROPY_MODELS.load


def find_for(codec: ModelFile, n_q: int = 1) -> EntropyModelFile | None:
    """Return an entropy model for `n_q` codebooks of a codec, None if there is none.

    Of several, one of the cache comes before one of the package, the last by name before others.
    """
    for model in reversed(installed()):
        own = (model.codec_id, model.codec_fingerprint) == (codec.model_id, codec.fingerprint)
        if own and model.n_codebooks >= n_q:
            return model
    return None


def save_network(
    path: Path, model_id: str, codec: ModelFile, config: "EntropyConfig",
    tensors: "Mapping[str, NDArray[Any]]", facts: Mapping[str, Any],
) -> None:  # fmt: skip
    """Write an entropy model. Raises ModelInvalid where a sum could leave what float32 holds."""
    from ncodec.entropy.layout import check

    check(config, tensors)
    about = {
        "model_id": model_id,
        "codec_id": codec.model_id,
        "codec_fingerprint": codec.fingerprint.hex(),
        "config": asdict(config),
        "facts": dict(facts),
    }
    ENTROPY_MODELS.write(path, about, tensors)


def rebind(model: EntropyModelFile, codec: ModelFile, path: Path) -> None:
    """Write an entropy model for other weights with the same codes; it supersedes the old one."""
    from ncodec.entropy.layout import EntropyConfig

    arrays = mapped(model.path, model.stamp).arrays()
    config = EntropyConfig(**model.config)
    facts = {**model.facts, SUPERSEDES: model.compatible()}
    save_network(path, codec.model_id, codec, config, arrays, facts)


@dataclass(frozen=True, slots=True)
class Entropy:
    """An entropy coder, and its model if it has one."""

    name: str
    model: EntropyModelFile | None = None

    def header_fields(self) -> dict[str, Any]:
        """Return what a header says of it."""
        fields: dict[str, Any] = {"entropy": CODER_NUMBERS[self.name]}
        if self.model is not None:
            fields["entropy_model_id"] = self.model.model_id
            fields["entropy_fingerprint"] = self.model.fingerprint
        return fields


def choose_entropy(model: ModelFile, name: str | None, n_q: int = 1) -> Entropy:
    """Return the coder of that name for the codes of `n_q` codebooks of a codec model.

    Without a name, it is the transformer where it has a model for this codec, else WITHOUT_MODEL.
    Raises ModelMissing for a transformer without one, UsageError for an unknown name.
    """
    if name is not None and name not in CODER_NUMBERS:
        known = ", ".join(CODER_NUMBERS)
        raise UsageError(f"entropy coder {name!r} is unknown; expected one of {known}")
    if name not in (None, "transformer"):
        return Entropy(name)
    entropy_model = find_for(model, n_q)
    if entropy_model is not None:
        load_network(entropy_model)  # a broken one is found before anything is written
        return Entropy("transformer", entropy_model)
    if name is None:
        return Entropy(WITHOUT_MODEL)
    raise ModelMissing(
        f"entropy coder 'transformer': no entropy model for {n_q} codebooks of weights "
        f"{model.fingerprint.hex()} of model {model.model_id!r} is installed; "
        "`ncodec train-entropy` makes one"
    )
