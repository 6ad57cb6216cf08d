"""Noise that is the same on every machine and depends on its place alone. No torch."""

import numpy as np
from numpy.typing import NDArray

_STREAM_BITS = 40  # of a place within a stream of numbers


def scrambled(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return numbers that look random: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    with np.errstate(over="ignore"):
        z = numbers * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def normal_noise(stream: int, first: int, count: int) -> NDArray[np.float32]:
    """Return the numbers `first` to `first + count` of a stream of normally distributed ones.

    Box and Muller, Annals of Mathematical Statistics, 1958: of two uniform numbers each. Machines
    whose sine or logarithm differ in the last bit of double precision differ in few of them, in the
    last bit of single precision.
    """
    start = (stream << _STREAM_BITS) + 2 * first + 1
    uniform = (scrambled(np.arange(start, start + 2 * count, dtype=np.uint64)) >> np.uint64(11)) + 1
    radius, angle = (uniform.astype(np.float64) / 2**53).reshape(count, 2).T  # (0, 1]
    return (np.sqrt(-2 * np.log(radius)) * np.cos(2 * np.pi * angle)).astype(np.float32)
