"""Several processes that train one model, each on crops of its own: `torchrun` starts them.

    torchrun --nproc-per-node 2 -m ncodec train CONFIG -o FOLDER

Gradients and codebook statistics are averaged after every step, so that all processes hold the
same weights. gloo between processors, nccl between GPUs.
"""

import os
from collections.abc import Iterable, Sequence

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

    @torch.no_grad()
    def average(self, tensors: Iterable[Tensor]) -> None:
        """Replace tensors by their means over all processes."""
        if self.count == 1:
            return
        kept = list(tensors)
        flat = torch.cat([tensor.flatten() for tensor in kept])
        dist.all_reduce(flat)
        flat /= self.count
        self._spread(flat, kept)

    @torch.no_grad()
    def share(self, tensors: Iterable[Tensor]) -> None:
        """Replace tensors by those of the first process."""
        if self.count == 1:
            return
        kept = list(tensors)
        flat = torch.cat([tensor.flatten() for tensor in kept])
        dist.broadcast(flat, 0)
        self._spread(flat, kept)

    def agree(self, flag: bool) -> bool:
        """Return what the first process says."""
        if self.count == 1:
            return flag
        said = torch.tensor([int(flag)], device=self.device)
        dist.broadcast(said, 0)
        return bool(said.item())

    @staticmethod
    def _spread(flat: Tensor, tensors: Sequence[Tensor]) -> None:
        for tensor, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))
