"""The table of entropy coders: a new one is a line here, and one in the format's ENTROPY_CODERS."""

from importlib import import_module
from typing import TYPE_CHECKING

from ncodec.entropy.base import EntropyCoder
from ncodec.errors import ModelMissing, UsageError
from ncodec.formats.ncx import CODER_NUMBERS

if TYPE_CHECKING:
    from ncodec.entropy.network import Network

_CODERS = {
    "packed": "ncodec.entropy.packed:PackedCoder",
    "adaptive": "ncodec.entropy.adaptive:AdaptiveCoder",
    "mixed": "ncodec.entropy.mixed:MixedCoder",
    "transformer": "ncodec.entropy.transformer:TransformerCoder",
}


def open_coder(
    name_or_number: str | int, *, n_streams: int, n_codebooks: int, codebook_size: int,
    network: "Network | None" = None,
) -> EntropyCoder:  # fmt: skip
    """Return a new coder with an empty context, for one direction.

    network  the entropy model of the transformer coder; the others have none
    """
    names = {number: name for name, number in CODER_NUMBERS.items()}
    name = names.get(name_or_number) if isinstance(name_or_number, int) else name_or_number
    if name not in CODER_NUMBERS:
        known = ", ".join(f"{name} ({number})" for name, number in CODER_NUMBERS.items())
        raise UsageError(f"entropy coder {name_or_number!r} is unknown; expected one of {known}")
    if name == "transformer" and network is None:
        raise ModelMissing("entropy coder 'transformer' needs an entropy model")
    own = {"network": network} if name == "transformer" else {}
    module, _, class_name = _CODERS[name].partition(":")
    coder: type[EntropyCoder] = getattr(import_module(module), class_name)
    return coder(n_streams=n_streams, n_codebooks=n_codebooks, codebook_size=codebook_size, **own)
