"""How hard an encoder searches for codes, and what a bit is worth to it.

Levels of effort have names: "fast" comes near to the latents by a narrow beam search and does not
look at bits; "default" and "best" weigh bits, by the rate-distortion search of
`ncodec.entropy.search`, where a transformer will code the packets of a file. Elsewhere, with the
other coders and in live streams, "default" is "fast" and "best" a wide beam.

Quality is a scale of what a bit is worth: lambda, in shares of the latents' energy. The slope of
the distortion over the rate is that lambda where n codebooks are in use of `SLOPE / lambda`, so
either of the two follows from the other.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ncodec.errors import UsageError
from ncodec.hub.entropy_models import Entropy, load_network
from ncodec.models import EFFORTS, MAX_EFFORT, MAX_QUALITY

if TYPE_CHECKING:
    from ncodec.models.base import Codec, Search

SLOPE = 0.008  # lambda times the codebooks: as good as the plain search of 4 beams, in fewer bits
HALVING = 2.5  # steps of quality for half as many codebooks, whose bits are worth twice as much


@dataclass(frozen=True, slots=True)
class Level:
    """What is spent where bits are weighed, and where they are not."""

    beam_width: int
    n_passes: int
    plain: int | None  # None: the model's own choice


LEVELS = {"default": Level(4, 1, None), "best": Level(16, 2, 16)}


def check_effort(effort: str | int | None) -> str | int:
    """Return the effort, "default" for None. Raises UsageError for one that there is not."""
    if effort is None:
        return "default"
    is_width = type(effort) is int and 1 <= effort <= MAX_EFFORT
    if not is_width and effort not in EFFORTS:
        raise UsageError(
            f"effort {effort}: expected {', '.join(EFFORTS)}, or 1 to {MAX_EFFORT} for the width "
            "of a beam that does not weigh bits"
        )
    return effort


def plain_effort(effort: str | int | None, codec: "Codec") -> int:
    """Return how wide a beam is that does not weigh bits. Raises UsageError."""
    effort = check_effort(effort)
    if not codec.can_search:
        return 1
    if isinstance(effort, int):
        return effort
    wanted = LEVELS[effort].plain if effort in LEVELS else None
    return codec.default_beam_width if wanted is None else max(wanted, codec.default_beam_width)


def weighs_bits(effort: str | int | None, entropy: Entropy, codec: "Codec") -> bool:
    """Tell whether an encoder of files weighs bits. Raises UsageError."""
    return check_effort(effort) in LEVELS and entropy.model is not None and codec.can_search


def choose_search(
    effort: str | int | None, codec: "Codec", n_q: int, entropy: Entropy | None = None, *,
    quality: float | None = None, device: str = "cpu",
) -> "int | Search":  # fmt: skip
    """Return how codes are searched for, as `Codec.start_encoder` takes it.

    entropy  what codes key packets, if each is searched as a whole: not those of live streams
    quality  for another lambda than that of `n_q` codebooks
    device   of torch, of the codec

    Raises UsageError.
    """
    from ncodec.entropy.search import RateDistortionSearch

    if entropy is None or entropy.model is None or not weighs_bits(effort, entropy, codec):
        return plain_effort(effort, codec)
    level = LEVELS[str(check_effort(effort))]
    share = n_q if quality is None else _codebooks(quality, codec.config.n_codebooks)
    network = load_network(entropy.model, device)
    return RateDistortionSearch(network, SLOPE / share, level.beam_width, level.n_passes)


def n_q_of_quality(quality: float, n_codebooks: int) -> int:
    """Return how many codebooks of a model a quality takes, from 1 to all. Raises UsageError."""
    return max(1, round(_codebooks(quality, n_codebooks)))


def _codebooks(quality: float, n_codebooks: int) -> float:
    """Return the same before it is rounded."""
    if not (math.isfinite(quality) and 0 <= quality <= MAX_QUALITY):
        raise UsageError(f"quality {quality:g}: expected 0 to {MAX_QUALITY}")
    return n_codebooks * 2 ** ((quality - MAX_QUALITY) / HALVING)
