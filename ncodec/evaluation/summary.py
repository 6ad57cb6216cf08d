"""Means over the clips of each group, with how far other clips might have moved them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ncodec.evaluation.metrics import Metric
from ncodec.evaluation.runs import Row

N_RESAMPLES = 2000
_SEED = 1
COLUMNS = {  # in addition to the metrics: key -> title, digits
    "kbps": ("true kbps", 2),
    "overhead_kbps": ("container kbps", 2),
    "encode_speed": ("encode x", 0),
    "decode_speed": ("decode x", 0),
}


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean, and the bootstrap's 95 % confidence interval; None for a single clip."""

    value: float
    low: float | None
    high: float | None
    n_clips: int


@dataclass(frozen=True, slots=True)
class Summary:
    """One codec at one bandwidth on the clips of one group."""

    group: str
    codec: str
    bandwidth_kbps: float
    n_clips: int
    means: dict[str, Mean]  # by the key of a column or metric; without those that have no value


def summarise(rows: Sequence[Row], metrics: Sequence[Metric]) -> list[Summary]:
    """Return a summary for each group and coder, in the order of the rows."""
    cells: dict[tuple[str, str, float], list[Row]] = {}
    for row in rows:
        cells.setdefault((row.group, row.codec, row.bandwidth_kbps), []).append(row)
    found = []
    for (group, codec, kbps), members in cells.items():
        values: dict[str, list[float | None]] = {
            key: [getattr(row, key) for row in members] for key in COLUMNS
        }
        for metric in metrics:
            values[metric.key] = [row.scores.get(metric.key) for row in members]
        known = {key: [v for v in column if v is not None] for key, column in values.items()}
        means = {key: mean_of(column) for key, column in known.items() if column}
        found.append(Summary(group, codec, kbps, len(members), means))
    return found


def mean_of(values: Sequence[float]) -> Mean:
    """Return the mean, and the middle 95 % of the means of as many clips drawn with replacement.

    The draws are the same for the same number of clips, so codecs are compared on equal ones.
    """
    array = np.asarray(values, np.float64)
    mean, n = float(array.mean()), len(array)
    if n < 2:
        return Mean(mean, None, None, n)
    draws = np.random.default_rng(_SEED).integers(n, size=(N_RESAMPLES, n))
    low, high = np.percentile(array[draws].mean(1), (2.5, 97.5))
    return Mean(mean, float(low), float(high), n)
