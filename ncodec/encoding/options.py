"""What an encoding is: the options as a user gives them, and as they are resolved."""

from dataclasses import dataclass
from typing import TypedDict

from ncodec.errors import UsageError
from ncodec.hub.codecs import DEFAULT_MODEL, ModelFile, choose_n_q, find, load_codec
from ncodec.hub.entropy_models import Entropy, choose_entropy
from ncodec.models import MAX_EFFORT

LIVE_ENTROPY = "adaptive"  # by default: frame by frame, a transformer takes much of a slow core


@dataclass(frozen=True, slots=True)
class ResolvedOptions:
    """EncodeOptions with nothing left open: the very weights, and all that the model chose."""

    model: ModelFile
    n_q: int
    entropy: Entropy
    effort: int
    denoise: bool = False


@dataclass(frozen=True, slots=True)
class EncodeOptions:
    """How audio is to be encoded. The model chooses what is None.

    model           a model's id, an architecture's name for its default model, or a model file
    bandwidth_kbps  nominal, of each stream
    n_q             number of codebooks, instead of a bandwidth
    entropy         "transformer", "adaptive" or "packed"; see `choose_entropy` for None
    denoise         take noise away, for a model that can
    effort          how many ways to code a frame are followed at once, 1 to MAX_EFFORT: more takes
                    longer and comes nearer, in as many codes
    """

    model: str | ModelFile = DEFAULT_MODEL
    bandwidth_kbps: float | None = None
    n_q: int | None = None
    entropy: str | None = None
    denoise: bool = False
    effort: int | None = None

    def resolve(self, *, live: bool = False) -> ResolvedOptions:
        """Find the models, and choose what is left open.

        live  for a live stream, whose entropy coder is LIVE_ENTROPY by default

        Raises UsageError for what the model cannot do, ModelMissing.
        """
        model = find(self.model) if isinstance(self.model, str) else self.model
        n_q = choose_n_q(model, self.bandwidth_kbps, self.n_q)
        entropy = choose_entropy(model, self.entropy or (LIVE_ENTROPY if live else None), n_q)
        if self.effort is not None and not 1 <= self.effort <= MAX_EFFORT:
            raise UsageError(f"effort {self.effort}: expected 1 to {MAX_EFFORT}")
        codec = load_codec(model)
        if self.denoise and not codec.can_denoise:
            raise UsageError(f"model {model.model_id!r} does not take noise away")
        return ResolvedOptions(
            model, n_q, entropy, self.effort or codec.default_effort, denoise=self.denoise
        )


class EncodeKeywords(TypedDict, total=False):
    """The fields of EncodeOptions as keywords of a function."""

    model: str | ModelFile
    bandwidth_kbps: float | None
    n_q: int | None
    entropy: str | None
    denoise: bool
    effort: int | None
