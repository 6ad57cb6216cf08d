"""Several processes that train one model, each on crops of its own: `torchrun` starts them.

    torchrun --nproc-per-node 2 -m ncodec train CONFIG -o FOLDER

Gradients and codebook statistics are averaged after every step, so that all processes hold the
same weights. gloo between processors, nccl between GPUs.
"""

import os
from collections.abc import Callable, Iterable

import torch
import torch.distributed as dist
from torch import Tensor


class Workers:
    """The processes of a run; one alone needs no communication and does none."""

    def __init__(self, device: torch.device) -> None:
        self.count = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        self.device = device
        if self.count > 1 and not dist.is_initialized():
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Replace tensors by their means over all processes."""
        self._together(tensors, lambda flat: (dist.all_reduce(flat), flat.div_(self.count)))

    def share(self, tensors: Iterable[Tensor]) -> None:
        """Replace tensors by those of the first process."""
        self._together(tensors, lambda flat: dist.broadcast(flat, 0))

    @torch.no_grad()
    def _together(self, tensors: Iterable[Tensor], exchange: Callable[[Tensor], object]) -> None:
        """Exchange all tensors as one: a message each would cost more than their bytes."""
        if self.count == 1:
            return
        kept = list(tensors)
        flat = torch.cat([tensor.flatten() for tensor in kept])
        exchange(flat)
        for tensor, part in zip(kept, flat.split([t.numel() for t in kept]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def agree(self, flag: bool) -> bool:
        """Return what the first process says."""
        if self.count == 1:
            return flag
        said = torch.tensor([int(flag)], device=self.device)
        dist.broadcast(said, 0)
        return bool(said.item())
