"""A bet that a stream repeats the one before it: what mono recordings in stereo files need.

The transformer sees every stream by itself. This mixes its frequencies with all the weight that the
twin, the code of the same codebook and frame one stream before, has earned: a mixture of two
experts, each weighted by what it contributed so far. Whole numbers only (formats/PAYLOADS.md,
section 4). Needs no torch.

Shapes: P packets, S streams, Q codebooks, K codes.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_UNIT = 1 << 10
_FIRST = (31 * _UNIT, _UNIT)  # weights of the model and of the twin
_FORGET = 64 * _UNIT
_COARSE_BITS = 7
ROOM_BITS = 21  # of the model's frequencies: the bet doubles the sum at most

Place = tuple[Any, ...]  # an index of [P, S, Q]


class Twins:
    """The weights of all channels of some packets."""

    def __init__(self, n_packets: int, n_streams: int, n_codebooks: int) -> None:
        shape = (n_packets, n_streams, n_codebooks)
        self.model = np.full(shape, _FIRST[0], np.int64)
        self.twin = np.full(shape, _FIRST[1], np.int64)

    def bet(
        self, place: Place, rows: NDArray[np.int32], twins: NDArray[np.integer]
    ) -> NDArray[np.int64]:
        """Add the bets to frequencies [..., K], and return them, [...]; `twins` are codes [...]."""
        model, twin = self.model[place], self.twin[place]
        sure = twin > model
        if sure.any():  # makes room for a bet that dwarfs the rest
            rows[sure] = (rows[sure] >> _COARSE_BITS) + 1
        bets = np.minimum(rows.sum(-1, dtype=np.int64) * twin // model, 1 << ROOM_BITS)
        at = twins[..., None]
        np.put_along_axis(rows, at, np.take_along_axis(rows, at, -1) + bets[..., None], -1)
        return bets

    def learn(
        self, place: Place, rows: NDArray[np.int32], bets: NDArray[np.int64],
        twins: NDArray[np.integer], codes: NDArray[np.integer],
    ) -> None:  # fmt: skip
        """Move the weights, given what the codes turned out to be."""
        chosen = np.take_along_axis(rows, codes[..., None], -1)[..., 0].astype(np.int64)
        earned = np.where(codes == twins, _UNIT * bets // chosen, 0)
        model = self.model[place] + (_UNIT - earned)
        twin = self.twin[place] + earned
        full = model + twin >= _FORGET
        self.model[place] = np.where(full, model // 2 + 1, model)
        self.twin[place] = np.where(full, twin // 2 + 1, twin)
