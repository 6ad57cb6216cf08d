"""EnCodec's language model: the probabilities that .ecdc files with `lm` are coded with.

They must come out the same, to the last bit, as where the file was written. So each step does the
operations of torch that the model's authors do, on tensors of the same shapes, in the same order:
the keys of all past frames are projected again at every step, and each codebook has its own
product. Joining or keeping these would be faster, but may give other sums.

Shapes: Q codebooks, K codes of a codebook, P past frames, D width.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ncodec.errors import ModelInvalid

RANGE_BITS = 24  # of the arithmetic coder that takes the tables
MIN_RANGE = 2
FLOOR = 1e-8  # probabilities are rounded down to multiples of it
MAX_PERIOD = 10000


@dataclass(frozen=True, slots=True)
class LmConfig:
    """Sizes of a language model."""

    n_codebooks: int
    past_frames: int  # that a frame sees at most
    codebook_size: int = 1024
    width: int = 200
    hidden: int = 800
    n_layers: int = 5
    n_heads: int = 8

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if type(value) is not int or value < 1:
                raise ModelInvalid(f"{field.name} is {value!r}, expected a positive integer")
        if self.width % self.n_heads or self.width % 2 or self.width < 4:
            raise ModelInvalid(f"width {self.width} cannot be shared by {self.n_heads} heads")

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the config with these fields. Raises ModelInvalid."""
        try:
            return cls(**values)
        except TypeError as error:
            raise ModelInvalid(f"config of a language model: {error}") from None

    def layout(self) -> dict[str, tuple[int, ...]]:
        """Return the tensors and their shapes."""
        width, hidden, size = self.width, self.hidden, self.codebook_size
        shapes: dict[str, tuple[int, ...]] = {
            "embeddings": (self.n_codebooks, size + 1, width),
            "norm.weight": (width,),
            "norm.bias": (width,),
        }
        for number in range(self.n_layers):
            shapes |= {f"layers.{number}.{name}": shape for name, shape in {
                "attention.in_proj_weight": (3 * width, width),
                "attention.in_proj_bias": (3 * width,),
                "attention.out_proj.weight": (width, width),
                "attention.out_proj.bias": (width,),
                "attention_norm.weight": (width,),
                "attention_norm.bias": (width,),
                "grow.weight": (hidden, width),
                "grow.bias": (hidden,),
                "shrink.weight": (width, hidden),
                "shrink.bias": (width,),
                "hidden_norm.weight": (width,),
                "hidden_norm.bias": (width,),
            }.items()}  # fmt: skip
        return shapes | {
            "head_weights": (self.n_codebooks, size, width),
            "head_biases": (self.n_codebooks, size),
        }


PRESETS = {
    "encodec_24khz": LmConfig(n_codebooks=32, past_frames=262),  # 3.5 s
    "encodec_48khz": LmConfig(n_codebooks=16, past_frames=525),
}


class _Layer(nn.Module):
    """Attention, then two linear layers; each added to what came in, then normalised."""

    def __init__(self, config: LmConfig) -> None:
        super().__init__()
        width = config.width
        self.past_frames = config.past_frames
        self.attention = nn.MultiheadAttention(width, config.n_heads, batch_first=True)
        self.attention_norm = nn.LayerNorm(width)
        self.grow = nn.Linear(width, config.hidden)
        self.shrink = nn.Linear(config.hidden, width)
        self.hidden_norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """Return the frame `x`, [1, 1, D], as the layer leaves it, and its past, [1, P, D]."""
        keys = torch.cat([past, x], dim=1)
        # Nothing is masked, but another operation would run without the mask.
        mask = torch.zeros(1, keys.shape[1], dtype=torch.bool)
        seen = self.attention(x, keys, keys, attn_mask=mask, need_weights=False)[0]
        x = self.attention_norm(x + seen)
        x = self.hidden_norm(x + self.shrink(F.gelu(self.grow(x))))
        return x, keys[:, -self.past_frames :]


class EncodecLm(nn.Module):
    """A transformer over frames that gives the probabilities of all codebooks of the next frame.

    The codebooks of a frame are taken as independent of each other.
    """

    def __init__(self, config: LmConfig) -> None:
        super().__init__()
        self.config = config
        n_q, size, width = config.n_codebooks, config.codebook_size, config.width
        self.embeddings = nn.Parameter(torch.randn(n_q, size + 1, width))
        self.norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.n_layers))
        bound = width**-0.5
        self.head_weights = nn.Parameter(torch.empty(n_q, size, width).uniform_(-bound, bound))
        self.head_biases = nn.Parameter(torch.empty(n_q, size).uniform_(-bound, bound))

    @classmethod
    def from_tensors(cls, config: LmConfig, tensors: Mapping[str, Tensor]) -> Self:
        """Return the model of these weights, ready to run. Raises ModelInvalid."""
        check(config, tensors)
        with torch.device("meta"):
            model = cls(config)
        model.to_empty(device="cpu").load_state_dict(dict(tensors))
        return model.eval().requires_grad_(False)

    def forward(
        self, entries: Tensor, frame: int, past: Iterable[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the probabilities of a frame's codes, [1, K, Q, 1], and what the next one sees.

        entries  [Q]: 1 + the codes of the frame before it; zeros before the first
        frame    its number
        past     of each layer, [1, P, D]
        """
        n_q = len(entries)
        rows = self.embeddings[torch.arange(n_q), entries]
        x = self.norm(sum(rows.unbind()).view(1, 1, -1))  # pyright: ignore[reportAttributeAccessIssue]
        x = x + _position(frame, x.shape[-1])
        kept: list[Tensor] = []
        for layer, layer_past in zip(self.layers, past, strict=True):
            x, layer_past = layer(x, layer_past)
            kept.append(layer_past)
        scores = torch.stack(
            [F.linear(x, self.head_weights[q], self.head_biases[q]) for q in range(n_q)], dim=1
        )  # [1, Q, 1, K]
        return torch.softmax(scores.permute(0, 3, 1, 2), dim=1), kept


def _position(frame: int, width: int) -> Tensor:
    """Return what marks the place of a frame, [1, 1, D]."""
    places = torch.arange(width // 2).view(1, 1, -1)
    number = torch.arange(1).view(1, -1, 1) + frame
    phase = number / (MAX_PERIOD ** (places / (width // 2 - 1)))
    return torch.cat([torch.cos(phase), torch.sin(phase)], dim=-1)


class LmContext:
    """The frames of one segment so far; gives the tables that code the next one.

    On any machine that has the writer's floats the tables are the writer's; see ECDC.md, section 4.
    Run it with one thread.
    """

    def __init__(self, model: EncodecLm) -> None:
        self._model = model
        self._frame = 0
        config = model.config
        self._past = [torch.zeros(1, 1, config.width) for _ in range(config.n_layers)]

    @torch.no_grad()
    def tables(self, codes: NDArray[np.int64] | None, n_codebooks: int) -> NDArray[np.int64]:
        """Return where each code's part of 2^24 ends, [Q, K]. Raises ModelInvalid.

        codes  [Q] of the frame before, None for the first
        """
        entries = torch.zeros(n_codebooks, dtype=torch.long)
        if codes is not None:
            entries = torch.from_numpy(codes) + 1
        shares, self._past = self._model(entries, self._frame, self._past)
        self._frame += 1
        return tables(shares[0, :, :, 0])


def tables(shares: Tensor) -> NDArray[np.int64]:
    """Turn probabilities, [K, Q] float32, into cumulative tables, [Q, K]. Raises ModelInvalid."""
    shares = (shares / FLOOR).floor() * FLOOR
    spread = 1 - MIN_RANGE * len(shares) / 2**RANGE_BITS
    widths = ((spread * 2**RANGE_BITS) * shares).floor().long() + MIN_RANGE
    if int(widths.min()) < MIN_RANGE:  # what is not a number becomes a negative one
        raise ModelInvalid("language model: its probabilities are not numbers")
    return np.ascontiguousarray(widths.cumsum(0).t().numpy())


def check(config: LmConfig, tensors: Mapping[str, Tensor]) -> None:
    """Raise ModelInvalid unless `tensors` are those of a config, all of finite numbers."""
    layout = config.layout()
    for name, shape in layout.items():
        if name not in tensors:
            raise ModelInvalid(f"language model: tensor {name} is missing")
        found = tensors[name]
        if tuple(found.shape) != shape or not found.is_floating_point():
            raise ModelInvalid(
                f"language model: tensor {name} is {list(found.shape)} {found.dtype}, "
                f"expected {list(shape)} of floating point"
            )
        if not bool(found.isfinite().all()):
            raise ModelInvalid(f"language model: tensor {name} has numbers that are not finite")
    for name in tensors:
        if name not in layout:
            raise ModelInvalid(f"language model: tensor {name} is unknown")
