"""What codecs share whose networks run on the waveform, a hop at a time.

Shapes: B batch, C channels, T samples, Q codebooks, F frames, D latent.
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from ncodec.models.base import CodedChunk
from ncodec.models.torch_codec import TensorChunk, TorchCodec, no_scales
from ncodec.nn.conv import Memory
from ncodec.nn.rvq import Search


@dataclass(slots=True)
class EncoderState:
    """What an encoder remembers between chunks.

    `denoise` may be set again before every chunk: for all that it will give, or, as a tensor that
    broadcasts to [B, F], for each of the frames.
    """

    pending: Tensor  # [B, C, t] samples that are not coded yet
    search: int | Search  # of the quantiser's search
    denoise: bool | Tensor = False
    memory: Memory = field(default_factory=dict)


class WaveformCodec(TorchCodec):
    """A network to latents, one for every hop, and one back; without scales.

    Causal ones give all that they are asked for. Those that look ahead give less, and the rest with
    what follows.
    """

    first_frames: ClassVar[int] = 1  # that must be there before the first of a stream is coded

    @abstractmethod
    def latents(self, wav: Tensor, state: EncoderState, last: bool) -> Tensor:
        """Map [B, C, T] of whole hops, or up to the stream's end, to [B, F, D].

        T is 0 only at the end of a stream for a network that looks ahead.
        """

    @abstractmethod
    def audio(self, latents: Tensor, memory: Memory, last: bool) -> Tensor:
        """Map [B, F, D] to [B, C, hop F]; F is 0 only as T is for `latents`."""

    def n_frames(self, n_samples: int) -> int:
        """Return ceil(T / hop)."""
        return -(-n_samples // self.config.samples_per_frame)

    @property
    def latency_samples(self) -> int:
        """A frame is gathered before it is coded."""
        return self.config.samples_per_frame

    def start_encoder(
        self, batch: int, *, denoise: bool = False, search: int | Search | None = None
    ) -> EncoderState:
        """Return the state before the first sample."""
        assert self.can_denoise or not denoise
        nothing = torch.zeros(batch, self.config.n_channels, 0, device=self._device)
        return EncoderState(nothing, self.default_beam_width if search is None else search, denoise)

    def start_decoder(self, batch: int, first_frame: int = 0) -> Any:
        """Return the state before frame `first_frame`."""
        return {}

    def no_codes(self, wav: Tensor, n_q: int) -> TensorChunk:
        """Return a chunk of no frames."""
        codes = torch.empty(len(wav), n_q, 0, dtype=torch.int64, device=wav.device)
        return CodedChunk(codes, no_scales(wav))

    def encode_chunk(
        self, wav: Tensor, state: EncoderState, n_q: int, *, last: bool = False
    ) -> TensorChunk:
        """See TorchCodec.encode_chunk."""
        samples = torch.cat([state.pending, wav], 2)
        hop, n_ready = self.config.samples_per_frame, samples.shape[2]
        if not last:
            n_ready -= n_ready % hop
            if not state.memory and n_ready < self.first_frames * hop:
                n_ready = 0
        state.pending = samples[:, :, n_ready:]
        if not n_ready and not self._holds_back(state.memory, last):
            return self.no_codes(wav, n_q)
        latents = self.latents(samples[:, :, :n_ready], state, last)
        if not latents.shape[1]:
            return self.no_codes(wav, n_q)
        return CodedChunk(self.quantiser.encode(latents, n_q, state.search), no_scales(wav))

    def decode_chunk(self, chunk: TensorChunk, state: Any, *, last: bool = False) -> Tensor:
        """See TorchCodec.decode_chunk."""
        latents = self.quantiser.decode(chunk.codes)
        if not latents.shape[1] and not self._holds_back(state, last):
            return latents.new_zeros(len(latents), self.config.n_channels, 0)
        return self.audio(latents, state, last)

    def _holds_back(self, memory: Memory, last: bool) -> bool:
        """Whether a network that has seen something gives more with no more of it."""
        return last and self.lookahead_frames > 0 and bool(memory)

    def reconstruct(
        self, wav: Tensor, quantise: Callable[[Tensor], Tensor], denoise: Tensor | None = None,
        n_q: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """See TorchCodec.reconstruct: both waveforms are the same."""
        state = self.start_encoder(len(wav))
        state.denoise = False if denoise is None else denoise[:, None]
        latents = self.latents(wav, state, True)
        latents = latents.to(torch.promote_types(latents.dtype, torch.float32))
        whole = self.audio(quantise(latents), {}, True)[:, :, : wav.shape[2]]
        return whole, whole
