"""Names and layouts of SEANet networks, as EnCodec's and Mimi's authors and transformers have them.

theirs                      transformers'            ours
encoder.model.N.conv.conv.  encoder.layers.N.conv.   encoder.layers.N.
N.conv.norm.                N.norm.                  N.norm.
N.block.1. and block.3.     the same                 N.narrow. and widen.
N.shortcut.                 the same                 N.shortcut.
N.convtr.convtr.            N.conv.                  N., in another layout
N.lstm.                     the same                 N.lstm.
"""

import re

from torch import Tensor, nn

from ncodec.errors import ModelInvalid
from ncodec.nn.conv import Upsample, upsample_weight

_LAYER = re.compile(r"(encoder|decoder)\.(?:model|layers)\.(\d+)\.(.+)")


def seanet_name(name: str) -> tuple[str, str] | None:
    """Return the network, encoder or decoder, and the name of a tensor in it; None for others."""
    match = _LAYER.fullmatch(name)
    return (match[1], f"layers.{match[2]}.{_inside(match[3])}") if match else None


def _inside(name: str) -> str:
    """Return what one of their layers' tensors is called inside ours."""
    name = name.replace("block.1.", "narrow.").replace("block.3.", "widen.")
    name = re.sub(r"(?:conv|convtr)\.norm\.", "norm.", name)
    return re.sub(r"(?:conv\.conv|convtr\.convtr|conv)\.(?=weight|bias)", "", name)


def seanet_tensor(name: str, tensor: Tensor, layer: nn.Module | None) -> Tensor:
    """Return a convolution's weight in the layout of ours, `layer`; other tensors as they are.

    name  of theirs. Raises ModelInvalid
    """
    if tensor.ndim != 3:
        return tensor
    if not isinstance(layer, Upsample):
        return tensor.unsqueeze(2)
    if tensor.shape[2] % 2:
        raise ModelInvalid(f"{name} has shape {list(tensor.shape)}")
    return upsample_weight(tensor)
