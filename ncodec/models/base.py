"""What files need of a codec: its sizes, and arrays to codes and back. No torch.

The architectures are in torch, by the contract of `ncodec.models.torch_codec`, and meet this one
through it; `spectral` meets it by the kernel in C as well.

Shapes: B batch, C channels, T samples, Q codebooks, F frames.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from ncodec.errors import ModelInvalid, UsageError

if TYPE_CHECKING:
    from torch import Tensor

Numbers = TypeVar("Numbers")  # arrays or tensors


@dataclass(frozen=True, slots=True)
class CodecConfig:
    """What the container and the commands need to know of any codec."""

    sample_rate_hz: int
    n_channels: int  # of the waveform one code stream stands for
    samples_per_frame: int
    n_codebooks: int
    codebook_size: int
    bandwidths_kbps: tuple[float, ...]  # offered by name; others are possible, see n_q_choices
    default_bandwidth_kbps: float

    @property
    def n_q_choices(self) -> tuple[int, ...]:
        """The numbers of codebooks that can be used without those after them, in order."""
        return tuple(range(1, self.n_codebooks + 1))

    def check_n_q(self, n_q: int) -> None:
        """Raise UsageError unless `n_q` codebooks can be used."""
        if n_q not in self.n_q_choices:
            raise UsageError(f"{n_q} codebooks: expected {self.named_n_q_choices}")

    @property
    def named_n_q_choices(self) -> str:
        """The same for a message."""
        choices = self.n_q_choices
        if len(choices) == self.n_codebooks:
            return f"1 to {self.n_codebooks}"
        return " or ".join([", ".join(map(str, choices[:-1])), str(choices[-1])])

    @property
    def frame_rate_hz(self) -> float:
        """Frames a second."""
        return self.sample_rate_hz / self.samples_per_frame

    @property
    def codebook_bps(self) -> float:
        """Nominal bit/s of one codebook of one code stream."""
        return self.frame_rate_hz * (self.codebook_size - 1).bit_length()

    def n_q_for(self, bandwidth_kbps: float) -> int:
        """Return the codebooks that `bandwidth_kbps` (of one stream) pays for.

        Raises UsageError unless it is a number of codebooks that can be used.
        """
        n_q = round(bandwidth_kbps * 1000 / self.codebook_bps)
        exact = abs(n_q * self.codebook_bps - bandwidth_kbps * 1000) < 1
        if not exact or n_q not in self.n_q_choices:
            step = self.codebook_bps / 1000
            named = ", ".join(f"{kbps:g}" for kbps in self.bandwidths_kbps)
            if len(self.n_q_choices) < self.n_codebooks:
                every = ", ".join(f"{step * choice:g}" for choice in self.n_q_choices)
                raise UsageError(
                    f"bandwidth {bandwidth_kbps:g} kbps: expected one of {every}, which are "
                    f"{self.named_n_q_choices} codebooks"
                )
            raise UsageError(
                f"bandwidth {bandwidth_kbps:g} kbps: expected a multiple of {step:g} kbps from "
                f"{step:g} to {step * self.n_codebooks:g}; the usual ones are {named}"
            )
        return n_q

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Return the config that `to_dict` described, of this version or an earlier one.

        Raises ModelInvalid on unknown fields, and on missing ones that have no default.
        """
        known = {field.name for field in fields(cls)}
        needed = {field.name for field in fields(cls) if field.default is MISSING}
        differing = (values.keys() - known) | (needed - values.keys())
        if differing:
            names = ", ".join(sorted(differing))
            raise ModelInvalid(f"model config: unknown or missing fields: {names}")
        fields_by_name: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
        }
        return cls(**fields_by_name)


@dataclass(frozen=True, slots=True)
class CodedChunk(Generic[Numbers]):
    """What an encoder makes of one chunk, in arrays or tensors; a packet of a file holds one."""

    codes: Numbers  # [B, Q, F] int64
    scales: Numbers  # [B, N] float32, N >= 0: levels that the decoder needs, as the codec defines


ArrayChunk = CodedChunk[NDArray[Any]]


class Search(Protocol):
    """Another way to choose codes than to come near to the latents.

    Shapes: P packets of one stream, D latent, K codes.
    """

    def __call__(self, latents: "Tensor", codebooks: "Tensor") -> "Tensor":
        """Return the codes [P, Q, F] of latents [P, F, D]; codebooks [Q, K, D]. In torch."""
        ...

    def by_kernel(
        self, latents: NDArray[np.float32], codebooks: Any, n_q: int
    ) -> list[NDArray[np.int32]]:
        """Return the codes [F, n_q] of each of the packets; `ncodec.native.networks.Codebooks`."""
        ...


class Codec(ABC):
    """Waveforms to codes and back, chunk by chunk, in arrays.

    State carries over from chunk to chunk, so that there is no seam.
    """

    number: ClassVar[int]  # of the architecture, NCX.md's table
    name: ClassVar[str]
    config_class: ClassVar[type[CodecConfig]]
    presets: ClassVar[Mapping[str, CodecConfig]]

    def __init__(self, config: CodecConfig) -> None:
        self.config = config

    @abstractmethod
    def n_frames(self, n_samples: int) -> int:
        """Return how many frames `n_samples` samples are coded in; 0 for 0."""

    @property
    @abstractmethod
    def latency_samples(self) -> int:
        """Samples from an input sample to the output sample that stands for it, when live."""

    @property
    @abstractmethod
    def warmup_frames(self) -> int:
        """Frames before a place from which decoding there equals decoding from the start."""

    @property
    def has_finite_context(self) -> bool:
        """Whether decoded samples depend on nothing before the warm-up.

        Codes then depend on nothing more than 10 s before them.
        """
        return True

    @property
    def lookahead_frames(self) -> int:
        """Frames of later samples that the encoder waits for before it gives a frame's codes."""
        return 0

    @property
    def segment_frames(self) -> int:
        """Frames that belong together: codes are cut at multiples of this only."""
        return 1

    def first_sample(self, frame: int) -> int:
        """Return the first of the samples that a frame stands for."""
        return frame * self.config.samples_per_frame

    def frame_at(self, sample: int) -> int:
        """Return the last frame, a multiple of a segment, whose first sample is not after one."""
        return sample // self.config.samples_per_frame

    @property
    def coded_level(self) -> float | None:
        """RMS that every chunk is brought to before it is coded, None if its level is kept."""
        return None

    @property
    def default_beam_width(self) -> int:
        """The width of the quantiser's beam search where no search is given."""
        return 1

    @property
    def can_search(self) -> bool:
        """Whether other codes than the nearest can be searched for; if not, every search is 1."""
        return True

    @property
    def can_denoise(self) -> bool:
        """Whether the encoder can take noise away on request."""
        return False

    @abstractmethod
    def start_encoder(
        self, batch: int, *, denoise: bool = False, search: int | Search | None = None
    ) -> Any:
        """Return the state of an encoder before its first sample.

        denoise  take noise away; for a codec that `can_denoise` only
        search   the beam width of the quantiser's search, `default_beam_width` for None; or a
                 search of another kind
        """

    @abstractmethod
    def start_decoder(self, batch: int, first_frame: int = 0) -> Any:
        """Return the state of a decoder before frame `first_frame`, a multiple of a segment."""

    @abstractmethod
    def encode_arrays(
        self, wav: NDArray[np.float32], state: Any, n_q: int, *, last: bool = False
    ) -> ArrayChunk:
        """Return the codes that become known with `wav`; advance `state`.

        wav    [B, C, T] in [-1, 1] at config.sample_rate_hz, any T
        last   True with the end of the stream: returns all that is left
        return codes [B, n_q, F] and the scales of these frames

        With one thread inside.
        """

    def begin_arrays(
        self, wav: NDArray[np.float32], state: Any, n_q: int, *, last: bool = False
    ) -> Callable[[], ArrayChunk]:
        """Advance `state`; return what finds the chunk of `encode_arrays`, on any thread."""
        chunk = self.encode_arrays(wav, state, n_q, last=last)
        return lambda: chunk

    @abstractmethod
    def decode_arrays(
        self, chunk: ArrayChunk, state: Any, *, last: bool = False
    ) -> NDArray[np.float32]:
        """Return the samples that become known with a chunk as it was encoded; advance `state`.

        chunk  codes [B, Q, F], 1 <= Q <= config.n_codebooks, and their scales; F is any number of
               segments, and may end within one where the stream ends
        return [B, C, T]; over a whole stream at least as many as were encoded

        With one thread inside.
        """

    def scale_counts(self, n_frames: int) -> tuple[int, ...]:
        """Return how many scales, per stream, a chunk of `n_frames` frames may have."""
        return (0,)

    def cut(self, chunk: CodedChunk[Any], first: int, end: int) -> CodedChunk[Any]:
        """Return frames `first` to `end` of a chunk, both at segments or at the chunk's own end."""
        return CodedChunk(chunk.codes[:, :, first:end], chunk.scales)

    def is_whole(self, chunk: CodedChunk[Any]) -> bool:
        """Whether a chunk ends between segments, so that another may follow."""
        return True
