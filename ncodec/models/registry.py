"""Architectures by name, imported on demand from the entry-point group `ncodec.architectures`.

The group `ncodec.kernels` has those that run by the kernel in C as well, without torch.
"""

import functools
from typing import TYPE_CHECKING, Any

from ncodec.errors import ModelMissing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from importlib.metadata import EntryPoint

    from ncodec.models.base import Codec
    from ncodec.models.torch_codec import TorchCodec

GROUP = "ncodec.architectures"
KERNEL_GROUP = "ncodec.kernels"


@functools.cache
def names(group: str = GROUP) -> "dict[str, EntryPoint]":
    """Return the installed architectures' entry points by name."""
    from importlib.metadata import entry_points  # a tenth of what `verify` takes to start

    return {point.name: point for point in entry_points(group=group)}


def architecture(name: str) -> "type[TorchCodec]":
    """Return the class of an architecture. Raises ModelMissing.

    That is for a name that nobody registered, and without torch.
    """
    if name not in names():
        raise ModelMissing(f"architecture {name!r}: not installed; known: {', '.join(names())}")
    try:
        return names()[name].load()
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ModelMissing(f"architecture {name!r} runs in torch, which is not installed") from None


def kernel_architecture(
    name: str,
) -> "Callable[[Mapping[str, Any], Mapping[str, Any], str], Codec] | None":
    """Return what makes a codec of a config, arrays and a path of the kernel; None without it.

    Both are as in a model file.
    """
    return names(KERNEL_GROUP)[name].load() if name in names(KERNEL_GROUP) else None
