"""An entropy model ready to code: by the kernel, or by torch's operations with the same results."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from ncodec.entropy.layout import EntropyConfig, check
from ncodec.errors import ModelMissing
from ncodec.native.kernel import Model
from ncodec.native.kernel import load as load_kernel

if TYPE_CHECKING:
    from ncodec.entropy.torch_network import TorchNetwork


@dataclass(frozen=True)
class Network:
    """A checked entropy model.

    Attributes:
        config: its sizes.
        arrays: its tensors, whole numbers, as `layout` names them.
        kernel: that codes with it; without one `torch` does.
        device: of `torch`.
    """

    config: EntropyConfig
    arrays: Mapping[str, NDArray[Any]]
    kernel: Model | None = None
    device: str = "cpu"

    @functools.cached_property
    def torch(self) -> "TorchNetwork":
        """The same network by torch's operations, made when it is first asked for.

        Raises ModelMissing without torch.
        """
        try:
            import torch
        except ImportError:
            raise ModelMissing(
                "the transformer coder needs the kernel, which was not built here, or torch"
            ) from None
        from ncodec.entropy.torch_network import build

        tensors = {
            name: torch.from_numpy(array.astype("f4")) for name, array in self.arrays.items()
        }
        return build(self.config, {name: t.to(self.device) for name, t in tensors.items()})


def load(config: EntropyConfig, arrays: Mapping[str, NDArray[Any]], device: str = "cpu") -> Network:
    """Return the network of tensors as a model file holds them, every bound on its sums checked.

    Raises ModelInvalid.
    """
    check(config, arrays)
    return Network(config, arrays, load_kernel(config, arrays), device)
