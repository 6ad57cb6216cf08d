"""Rate-distortion search: RVQ codes by distortion plus lambda times the bits they are charged.

An encoder is free in its choice of codes: decoders neither know nor care. For every frame this
search minimises, by a beam search over the codebooks,

    g(q) |residual after codebook q|**2  +  lambda * energy * bits of the codes up to q

where the bits are those that the integer transformer will charge, `energy` is the mean of the
packet's latents, and g(q) = (final error of the packet) / (its error after codebook q) foretells
what the later codebooks will leave of a residual.

What the transformer knows of the frames before is taken from codes found before: of the nearest
codes in the first pass, of the pass before in a second. So all frames are searched side by side,
and what is lost by that is a tenth of what is gained. Packets do not see each other: the codes of
one do not depend on what is searched beside it.

Sullivan and Wiegand, "Rate-distortion optimization for video compression", IEEE Signal Processing
Magazine, 1998, for the Lagrangian; LeBlanc, Bhattacharya, Mahmoud and Cuperman, "Efficient search
and design procedures for robust multi-stage VQ of LPC parameters for 4 kb/s speech coding", IEEE
Transactions on Speech and Audio Processing, 1993, for the beam search: their M-L search.

Shapes: P packets of one stream, F frames, Q codebooks, K codes, D latent, W width of the network,
N frames of all packets, B beams.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ncodec.entropy.network import Network
from ncodec.native.kernel import MAX_ROWS

if TYPE_CHECKING:
    from torch import Tensor

    from ncodec.native.networks import Codebooks, Floats

LEAST_SHARE = 0.5  # of an error that one codebook may be expected to leave, at least


@dataclass(frozen=True, slots=True)
class RateDistortionSearch:
    """A search for the codes of whole packets; see `ncodec.nn.rvq.Search`.

    Attributes:
        network: that will code them.
        multiplier: lambda, the share of the latents' mean energy that a bit is worth.
        beam_width: beginnings of a frame's codes that are kept from codebook to codebook.
        n_passes: 1, or more for a context nearer to what will be coded.
    """

    network: Network
    multiplier: float
    beam_width: int
    n_passes: int = 1

    def __call__(self, latents: "Tensor", codebooks: "Tensor") -> "Tensor":
        """Return the codes [P, Q, F] of key packets [P, F, D]; codebooks [Q, K, D]. In torch."""
        from ncodec.entropy.torch_search import search_codes

        return search_codes(
            self.network, latents, codebooks, multiplier=self.multiplier, least_share=LEAST_SHARE,
            beam_width=self.beam_width, n_passes=self.n_passes,
        )  # fmt: skip

    def by_kernel(
        self, latents: "Floats", codebooks: "Codebooks", n_q: int
    ) -> "list[NDArray[np.int32]]":
        """Return the codes [F, Q] of each of the packets [P, F, D], by the kernel alone."""
        return [self._packet_codes(rows, codebooks, n_q) for rows in latents]

    def _packet_codes(
        self, latents: "Floats", codebooks: "Codebooks", n_q: int
    ) -> NDArray[np.int32]:
        kernel = self.network.kernel
        assert kernel is not None  # noqa: S101 # the codec has one too
        codes = codebooks.search(latents, n_q, 1)
        if not len(codes):
            return codes
        weights = self._weights(latents, codebooks.vectors, codes)
        room = kernel.context(1, n_q)
        for _ in range(self.n_passes):
            trunk = kernel.context(1, n_q, n_frames_at_once=MAX_ROWS)
            hidden = trunk.hidden(codes[:, None])[:, 0]
            codes = codebooks.search(latents, n_q, self.beam_width, room, hidden, weights)
        return codes

    @np.errstate(all="ignore")  # whatever the latents, there are codes
    def _weights(self, latents: "Floats", vectors: "Floats", codes: NDArray[np.int32]) -> "Floats":
        """Return lambda energy / (2 g(q)), [F, Q]: what a bit is worth of half a square error.

        codes  [F, Q] the nearest of each codebook in turn
        """
        rows, errors = latents, []
        for q in range(codes.shape[1]):
            rows = rows - vectors[q][codes[:, q]]
            errors.append(np.square(rows, dtype=np.float64).sum(1).mean())
        left = np.arange(len(errors) - 1, -1, -1)
        share = errors[-1] / np.maximum(errors, np.finfo(np.float32).tiny)
        share = np.maximum(np.minimum(share, 1.0), LEAST_SHARE**left)
        energy = np.square(latents, dtype=np.float64).sum(1).mean()
        weights = (self.multiplier * energy / (2 * share)).astype(np.float32)
        return np.ascontiguousarray(np.broadcast_to(weights, codes.shape))
