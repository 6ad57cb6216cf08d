"""What an encoding is: the options as a user gives them, and as they are resolved."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from ncodec.encoding.effort import (
    check_effort,
    choose_search,
    n_q_of_quality,
    plain_effort,
    weighs_bits,
)
from ncodec.errors import UsageError
from ncodec.hub.codecs import DEFAULT_MODEL, ModelFile, choose_n_q, find, load_codec
from ncodec.hub.entropy_models import Entropy, choose_entropy

if TYPE_CHECKING:
    from ncodec.models.base import Search

LIVE_ENTROPY = "adaptive"  # by default: frame by frame, a transformer takes much of a slow core


@dataclass(frozen=True, slots=True)
class ResolvedOptions:
    """EncodeOptions with nothing left open: the exact weights, and all that the model chose.

    effort          its name where the search weighs bits, else the width of its beam
    quality         of a search that weighs bits; None for what suits `n_q`
    equal_channels  all channels of the source are equal: a mono codec codes one of them
    """

    model: ModelFile
    n_q: int
    entropy: Entropy
    effort: str | int
    quality: float | None = None
    denoise: bool = False
    keep_pictures: bool = True
    conceal: bool = False
    equal_channels: bool = False

    def search(self, device: str = "cpu") -> "int | Search":
        """Return how codes are searched for, as `Codec.start_encoder` takes it."""
        return choose_search(
            self.effort, load_codec(self.model, device), self.n_q, self.entropy,
            quality=self.quality, device=device,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class EncodeOptions:
    """How audio is to be encoded. The model chooses what is None.

    model           a model's id, an architecture's name for its default model, or a model file; for
                    None see `encoding.choice`, `resolve` takes DEFAULT_MODEL
    bandwidth_kbps  nominal, of each stream
    n_q             number of codebooks, instead of a bandwidth
    entropy         "transformer", "mixed", "adaptive" or "packed"; see `choose_entropy` for None
    denoise         take noise away, for a model that can
    effort          of the search for codes: "fast", "default" or "best", of which the last two
                    weigh the bits that a transformer charges; or 1 to MAX_EFFORT, the width of a
                    beam that does not weigh bits
    quality         0 to MAX_QUALITY, for a variable bit rate: what a bit is worth to the search,
                    and so how many codebooks are in use where neither a bandwidth nor `n_q` says so
    keep_pictures   whether the pictures of the source are kept
    conceal         take what can be read of damaged audio; see `AudioSource`
    """

    model: str | ModelFile | None = None
    bandwidth_kbps: float | None = None
    n_q: int | None = None
    entropy: str | None = None
    denoise: bool = False
    effort: str | int | None = None
    quality: float | None = None
    keep_pictures: bool = True
    conceal: bool = False

    def resolve(self, *, live: bool = False) -> ResolvedOptions:
        """Find the models, and choose what is left open.

        live  for a live stream, whose entropy coder is LIVE_ENTROPY by default

        Raises UsageError for what the model cannot do, ModelMissing.
        """
        named = self.model or DEFAULT_MODEL
        model = find(named) if isinstance(named, str) else named
        codec, n_q = load_codec(model), self.n_q
        if self.quality is not None:
            near = n_q_of_quality(self.quality, codec.config.n_codebooks)
            wanted = min(codec.config.n_q_choices, key=lambda choice: abs(choice - near))
            n_q = wanted if n_q is None and self.bandwidth_kbps is None else n_q
        n_q = choose_n_q(model, self.bandwidth_kbps, n_q)
        entropy = choose_entropy(model, self.entropy or (LIVE_ENTROPY if live else None), n_q)
        if self.denoise and not codec.can_denoise:
            raise UsageError(f"denoise: model {model.model_id!r} does not take noise away")
        plain = live or not weighs_bits(self.effort, entropy, codec)
        effort = plain_effort(self.effort, codec) if plain else check_effort(self.effort)
        return ResolvedOptions(
            model, n_q, entropy, effort, None if plain else self.quality, self.denoise,
            self.keep_pictures, self.conceal,
        )  # fmt: skip


class EncodeKeywords(TypedDict, total=False):
    """The fields of EncodeOptions as keywords of a function."""

    model: str | ModelFile | None
    bandwidth_kbps: float | None
    n_q: int | None
    entropy: str | None
    denoise: bool
    effort: str | int | None
    quality: float | None
    keep_pictures: bool
    conceal: bool
