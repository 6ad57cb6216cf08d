"""Entropy models with random weights, legal to the last corner."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ncodec.entropy.layout import EntropyConfig, check, is_matrix, layout, tensor_type
from ncodec.entropy.network import Network
from ncodec.native.kernel import Model

Arrays = dict[str, NDArray[Any]]
TINY = EntropyConfig(
    n_codebooks=4, codebook_size=16, width=24, n_layers=2, n_heads=3, window=5, hidden=40,
    head_hidden=12,
)  # fmt: skip


def random_tensors(config: EntropyConfig, seed: int, *, wild: bool = False) -> Arrays:
    """Return tensors as a model file holds them; `wild` ones run into every limit."""
    rng = np.random.RandomState(seed % 2**32)  # its numbers are frozen: golden files need them
    tensors = {}
    for name, shape in layout(config).items():
        eight_bit = name == "vectors" or is_matrix(name)
        limit, spread = (127, 30) if eight_bit else (32767, 300) if name == "start" else (
            1 << 21, 2000)  # fmt: skip
        if name.endswith(".shift"):
            low, high = (0, 21) if wild else (5, 9)
            drawn = rng.randint(low, 9 if name == "vectors.shift" else high, shape)
        elif wild:
            drawn = rng.randint(-limit, limit + 1, shape)
        else:
            drawn = rng.normal(0, spread, shape).clip(-limit, limit)
        tensors[name] = np.asarray(drawn).astype(tensor_type(name))
    check(config, tensors)
    return tensors


def random_network(
    config: EntropyConfig, seed: int, *, wild: bool = False, path: str | None = None
) -> Network:
    """Return a network, by torch's operations or by a path of the kernel."""
    arrays = random_tensors(config, seed, wild=wild)
    return Network(config, arrays, Model(config, arrays, path) if path else None)
