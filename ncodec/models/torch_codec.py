"""The contract that every codec architecture meets, in torch: for training, and for any device.

Shapes: B batch, C channels, T samples, Q codebooks, F frames.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ncodec.models.base import ArrayChunk, Codec, CodecConfig, CodedChunk
from ncodec.nn.rvq import ResidualVectorQuantiser, Search
from ncodec.nn.threads import one_thread

TensorChunk = CodedChunk[Tensor]


def no_scales(wav: Tensor) -> Tensor:
    """Return the scales [B, 0] of a codec that has none."""
    return wav.new_zeros(len(wav), 0)


class TorchCodec(nn.Module, Codec):
    """Waveforms to codes and back, whole or chunk by chunk.

    An architecture defines the chunked form only; the whole form is one chunk, and that of arrays
    is the same on the codec's device.
    """

    quantiser: ResidualVectorQuantiser
    is_trainable: ClassVar[bool] = True  # by ncodec.training

    def __init__(self, config: CodecConfig) -> None:
        nn.Module.__init__(self)
        Codec.__init__(self, config)

    @abstractmethod
    def start_encoder(
        self, batch: int, *, denoise: bool = False, search: int | Search | None = None
    ) -> Any:
        """See Codec.start_encoder; a search need only be one in torch."""

    @abstractmethod
    def encode_chunk(self, wav: Tensor, state: Any, n_q: int, *, last: bool = False) -> TensorChunk:
        """Return the codes that become known with `wav`; advance `state`.

        wav    [B, C, T] float32 in [-1, 1] at config.sample_rate_hz, any T
        last   True with the end of the stream: returns all that is left
        return codes [B, n_q, F] and the scales of these frames
        """

    @abstractmethod
    def decode_chunk(self, chunk: TensorChunk, state: Any, *, last: bool = False) -> Tensor:
        """Return the samples that become known with a chunk as it was encoded; advance `state`.

        chunk  codes [B, Q, F], 1 <= Q <= config.n_codebooks, and their scales; F is any number of
               segments, and may end within one where the stream ends
        return [B, C, T] float32; over a whole stream at least as many as were encoded
        """

    @abstractmethod
    def reconstruct(
        self, wav: Tensor, quantise: Callable[[Tensor], Tensor], denoise: Tensor | None = None,
        n_q: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Run the whole codec for training, with `quantise` in place of the codes.

        wav       [B, C, T], at the level that a chunk is brought to
        quantise  maps latents [B, F, D] to latents, as the quantiser would
        denoise   [B], 1 where noise is to be taken away; for a codec that `can_denoise`
        n_q       [B] codebooks that `quantise` uses, for a decoder that asks; by default all
        return    two waveforms [B, C, T]: what is meant to match sample by sample, what is heard
        """

    @torch.inference_mode()
    def encode(self, wav: Tensor, n_q: int, *, search: int | Search | None = None) -> TensorChunk:
        """Code a whole waveform [B, C, T] as one chunk of n_frames(T) frames; see start_encoder."""
        state = self.start_encoder(wav.shape[0], search=search)
        return self.encode_chunk(wav, state, n_q, last=True)

    @torch.inference_mode()
    def decode(self, chunk: TensorChunk, n_samples: int) -> Tensor:
        """Return `n_samples` samples [B, C, n_samples] of what `encode` returned."""
        wav = self.decode_chunk(chunk, self.start_decoder(len(chunk.codes)), last=True)
        return wav[..., :n_samples]

    def encode_arrays(
        self, wav: NDArray[np.float32], state: Any, n_q: int, *, last: bool = False
    ) -> ArrayChunk:
        """See Codec.encode_arrays."""
        with one_thread, torch.inference_mode():  # and nothing of the caller's
            samples = torch.from_numpy(np.require(wav, requirements=["C", "W"])).to(self._device)
            chunk = self.encode_chunk(samples, state, n_q, last=last)
            return CodedChunk(chunk.codes.cpu().numpy(), chunk.scales.cpu().numpy())

    def decode_arrays(
        self, chunk: ArrayChunk, state: Any, *, last: bool = False
    ) -> NDArray[np.float32]:
        """See Codec.decode_arrays."""
        with one_thread, torch.inference_mode():
            codes, scales = (
                torch.from_numpy(np.require(part, requirements=["C", "W"])).to(self._device)
                for part in (chunk.codes, chunk.scales)
            )
            return self.decode_chunk(CodedChunk(codes, scales), state, last=last).cpu().numpy()

    @property
    def _device(self) -> torch.device:
        return next(self.parameters()).device
