"""The inter-channel predictor: what mono recordings in stereo files need.

The transformer sees every stream by itself. This mixes its frequencies with the prediction that a
code is that of the same codebook and frame one stream before: a mixture of two experts, each
weighted by what it contributed so far. Whole numbers only (formats/PAYLOADS.md, section 4). Needs
no torch.

Shapes: P packets, S streams, Q codebooks, K codes.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_UNIT = 1 << 10
_FIRST = (31 * _UNIT, _UNIT)  # weights of the model and of the predictor
_WEIGHTS_LIMIT = 64 * _UNIT
_COARSE_BITS = 7
ROOM_BITS = 21  # of the model's frequencies: a prediction doubles the sum at most

Index = tuple[Any, ...]  # of [P, S, Q]


class InterChannelPredictor:
    """The weights of the two experts, for all streams and codebooks of some packets."""

    def __init__(self, n_packets: int, n_streams: int, n_codebooks: int) -> None:
        shape = (n_packets, n_streams, n_codebooks)
        self.model = np.full(shape, _FIRST[0], np.int64)
        self.predictor = np.full(shape, _FIRST[1], np.int64)

    def mix(
        self, index: Index, rows: NDArray[np.int32], predicted: NDArray[np.integer]
    ) -> NDArray[np.int64]:
        """Raise the frequencies of the predicted codes, and return by how much, [...].

        rows       [..., K] frequencies, changed in place
        predicted  [...] codes of the stream before
        """
        model, predictor = self.model[index], self.predictor[index]
        is_sure = predictor > model
        if is_sure.any():  # makes room for a prediction that dwarfs the rest
            rows[is_sure] = (rows[is_sure] >> _COARSE_BITS) + 1
        sums = rows.sum(-1, dtype=np.int64)
        added = np.minimum(sums * predictor // model, 1 << ROOM_BITS)
        at = predicted[..., None]
        np.put_along_axis(rows, at, np.take_along_axis(rows, at, -1) + added[..., None], -1)
        return added

    def learn(
        self, index: Index, rows: NDArray[np.int32], added: NDArray[np.int64],
        predicted: NDArray[np.integer], codes: NDArray[np.integer],
    ) -> None:  # fmt: skip
        """Move the weights, given the codes [...] and what `mix` took and returned."""
        chosen = np.take_along_axis(rows, codes[..., None], -1)[..., 0].astype(np.int64)
        earned = np.where(codes == predicted, _UNIT * added // chosen, 0)
        model = self.model[index] + (_UNIT - earned)
        predictor = self.predictor[index] + earned
        is_full = model + predictor >= _WEIGHTS_LIMIT
        self.model[index] = np.where(is_full, model // 2 + 1, model)
        self.predictor[index] = np.where(is_full, predictor // 2 + 1, predictor)
