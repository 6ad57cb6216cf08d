"""Architectures by name, imported on demand from the entry-point group `ncodec.architectures`."""

import functools
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from ncodec.errors import ModelMissing

if TYPE_CHECKING:
    from ncodec.models.base import Codec

GROUP = "ncodec.architectures"


@functools.cache
def names() -> dict[str, EntryPoint]:
    """Return the installed architectures' entry points by name."""
    return {point.name: point for point in entry_points(group=GROUP)}


def architecture(name: str) -> "type[Codec]":
    """Return the class of an architecture. Raises ModelMissing for a name nobody registered."""
    if name not in names():
        raise ModelMissing(f"architecture {name!r}: not installed; known: {', '.join(names())}")
    return names()[name].load()
