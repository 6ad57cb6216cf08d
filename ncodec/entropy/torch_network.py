"""The integer transformer: from codes to frequencies of the next, exact on every machine.

    codes of the frame before -> sum of vectors -> [norm, attention; norm, MLP] x L -> norm -> h
    h + vectors of the codes q' < q of this frame -> norm -> head of codebook q -> logits of code q

One step is one frame. Attention reaches back `window` frames a layer, so the context is bounded by
n_layers * (window - 1) frames, and a key packet starts from none. All numbers are whole; see
`torch_ops` for why that gives the same frequencies everywhere, and formats/PAYLOADS.md, section 4,
for the definition.

Vaswani et al., "Attention is all you need", NeurIPS 2017; squared ReLU after So et al., "Primer",
NeurIPS 2021; norm by the mean magnitude after Hoffer et al., "Norm matters", NeurIPS 2018; integers
after Balle, Johnston and Minnen, "Integer networks for data compression with latent-variable
models", ICLR 2019.

Shapes: B rows (streams of packets), F frames, Q codebooks, K codes, D width, H heads, W window.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from ncodec.entropy.layout import (
    ACTIVATION_UNIT,
    LIMIT,
    MASKED,
    ROOT_LIMIT,
    ROOT_UNIT,
    SQUARE_SHIFT,
    SQUARE_UNIT,
    STREAM_LIMIT,
    STREAM_UNIT,
    EntropyConfig,
)
from ncodec.entropy.torch_ops import (
    Arithmetic,
    Exact,
    Matrix,
    norm_scales,
    power_of_two,
)


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of the trunk."""

    attend: Matrix
    distance: Tensor  # [H, W]: added to the score of a key so many frames back
    gather: Matrix
    up: Matrix
    down: Matrix


@dataclass(frozen=True, slots=True)
class Head:
    """What turns a hidden row into the logits of one codebook."""

    up: Matrix
    out: Matrix
    bias: Tensor  # [K]
    shift: int  # logits have a unit of 2**-shift octaves


@dataclass(slots=True)
class State:
    """What a stream's past leaves: keys and values of the last frames, in rings of W slots."""

    keys: list[Tensor]  # of a layer, [B, H, W, D / H]; frame number n is in slot n % W
    values: list[Tensor]
    before: Tensor  # [B, D]: sum of the vectors of the last frame
    n_frames: int = 0


@dataclass(slots=True)
class TorchNetwork:
    """All tensors, ready for any of the three ways to run."""

    config: EntropyConfig
    vectors: Tensor  # [Q, K, D], in units of the stream
    start: Tensor  # [Q, D]: for a model run with so many codebooks less one
    layers: list[Layer]
    frame: Matrix
    heads: list[Head]
    arithmetic: Arithmetic
    scales: Tensor = field(init=False)  # of the norm
    reach: list[Tensor] = field(init=False)  # of a layer, [H, W, 2 W]: distance or MASKED
    rolled: list[Tensor] = field(init=False)  # of a layer, [W, H, 1, W]: distance, by slots

    def __post_init__(self) -> None:
        window, device = self.config.window, self.vectors.device
        self.scales = norm_scales(self.config.width).to(device)
        frame, other = torch.arange(window), torch.arange(2 * window)
        back = frame[:, None] + window - other  # [W, 2 W]
        inside = ((back >= 0) & (back < window)).to(device)
        back = back.clamp(0, window - 1).to(device)
        slots = ((frame[:, None] - frame) % window).to(device)  # [slot of now, slot]: frames back
        self.reach, self.rolled = [], []
        for layer in self.layers:
            self.reach.append(torch.where(inside, layer.distance[:, back], MASKED))
            self.rolled.append(layer.distance[:, slots].transpose(0, 1)[:, :, None])

    def begin(self, n_rows: int) -> State:
        """Return the state before a key packet's first frame."""
        c, like = self.config, self.vectors
        shape = (n_rows, c.n_heads, c.window, c.width // c.n_heads)
        keys, values = ([like.new_zeros(shape) for _ in self.layers] for _ in range(2))
        return State(keys, values, like.new_zeros(n_rows, c.width))

    def advance(self, inputs: Tensor, state: State) -> Tensor:
        """Map [B, F, D] sums of vectors, each of the frame before, to h [B, F, D].

        Leaves `state` as it is after these frames, but for `before`.
        """
        stream = inputs
        for number, layer in enumerate(self.layers):
            stream = self._layer(stream, layer, number, state)
        state.n_frames += inputs.shape[1]
        normed = self.arithmetic.norm(stream, self.scales)
        total = self.arithmetic.product(normed, self.frame)
        return self.arithmetic.rounded(total, self.frame.scale, -STREAM_LIMIT, STREAM_LIMIT)

    def inputs(self, sums: Tensor, n_q: int) -> Tensor:
        """Return what the trunk takes, of sums of vectors [..., D] over `n_q` codebooks."""
        return (sums + self.start[n_q - 1]).clamp(-STREAM_LIMIT, STREAM_LIMIT)

    def _layer(self, stream: Tensor, layer: Layer, number: int, state: State) -> Tensor:
        arithmetic, (n_rows, n_frames, _) = self.arithmetic, stream.shape
        normed = arithmetic.norm(stream, self.scales)
        total = arithmetic.product(normed, layer.attend)
        total = arithmetic.rounded(total, layer.attend.scale, -LIMIT, LIMIT)
        parts = total.view(n_rows, n_frames, 3, self.config.n_heads, -1).permute(2, 0, 3, 1, 4)
        attend = self._step if n_frames == 1 else self._banded
        mixed = attend(parts[0], parts[1], parts[2], number, state)  # [B, H, F, D / H]
        mixed = mixed.transpose(1, 2).reshape(n_rows, n_frames, -1)
        stream = self._add(stream, mixed, layer.gather)
        inner = self._squared(arithmetic.norm(stream, self.scales), layer.up)
        return self._add(stream, inner, layer.down)

    def _add(self, stream: Tensor, inner: Tensor, matrix: Matrix) -> Tensor:
        total = self.arithmetic.product(inner, matrix)
        total = self.arithmetic.rounded(total, matrix.scale, -2 * STREAM_LIMIT, 2 * STREAM_LIMIT)
        return (stream + total).clamp(-STREAM_LIMIT, STREAM_LIMIT)

    def _squared(self, normed: Tensor, matrix: Matrix) -> Tensor:
        """Return the squared ReLU of a product, as 7-bit numbers."""
        total = self.arithmetic.product(normed, matrix)
        root = self.arithmetic.rounded(total, matrix.scale, 0, ROOT_LIMIT)
        return self.arithmetic.rounded(root * root, 2.0**-SQUARE_SHIFT, 0, LIMIT)

    def _mix(self, query: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
        scores = (query @ keys.transpose(-1, -2)).add_(bias)
        weights = self.arithmetic.weights(scores)
        return self.arithmetic.divided(weights @ values, weights.sum(-1, keepdim=True))

    def _step(self, query: Tensor, key: Tensor, value: Tensor, n: int, state: State) -> Tensor:
        """Attend from one frame [B, H, 1, D / H]; its key and value go into the rings."""
        window = self.config.window
        slot = state.n_frames % window
        state.keys[n][:, :, slot : slot + 1] = key
        state.values[n][:, :, slot : slot + 1] = value
        bias, seen = self.rolled[n][slot], window
        if state.n_frames < window:  # the other slots hold nothing yet
            seen = slot + 1
        keys, values = state.keys[n][:, :, :seen], state.values[n][:, :, :seen]
        return self._mix(query, keys, values, bias[..., :seen])

    def _banded(self, query: Tensor, key: Tensor, value: Tensor, n: int, state: State) -> Tensor:
        """Attend from many frames [B, H, F, D / H]: blocks of W queries, to 2 W keys each."""
        window, n_frames = self.config.window, query.shape[2]
        first = state.n_frames
        shifted = -(first % window)
        keys = torch.cat([state.keys[n].roll(shifted, 2), key], 2)
        values = torch.cat([state.values[n].roll(shifted, 2), value], 2)
        last = (first + n_frames) % window
        state.keys[n] = keys[:, :, -window:].detach().roll(last, 2)
        state.values[n] = values[:, :, -window:].detach().roll(last, 2)
        filling = (0, 0, 0, -n_frames % window)
        blocks = F.pad(query, filling).unflatten(2, (-1, window))  # [B, H, blocks, W, D / H]
        keys, values = (
            F.pad(part, filling).unfold(2, 2 * window, window).transpose(-1, -2)
            for part in (keys, values)
        )  # [B, H, blocks, 2 W, D / H]
        bias = self.reach[n][:, None].expand(-1, blocks.shape[2], -1, -1)
        if first < window:  # the ring's oldest slots hold nothing
            bias = bias.clone()
            bias[:, 0, :, : window - first] = MASKED
        return self._mix(blocks, keys, values, bias).flatten(2, 3)[:, :, :n_frames]

    def logits(self, hidden: Tensor, q: int) -> Tensor:
        """Return the logits [N, K] of codebook q, in its head's unit.

        hidden  [N, D]: h, and the vectors of the codebooks before q
        """
        return self.outer(self.inner(hidden, q), q)

    def inner(self, hidden: Tensor, q: int) -> Tensor:
        """Return the units [N, R] of the head of codebook q."""
        limited = hidden.clamp(-STREAM_LIMIT, STREAM_LIMIT)
        return self._squared(self.arithmetic.norm(limited, self.scales), self.heads[q].up)

    def outer(self, units: Tensor, q: int) -> Tensor:
        """Return the logits [N, K] of codebook q from what `inner` returned."""
        head = self.heads[q]
        return self.arithmetic.product(units, head.out).add_(head.bias)


def build(
    config: EntropyConfig, tensors: Mapping[str, Tensor], arithmetic: Arithmetic | None = None
) -> TorchNetwork:
    """Return the network of whole-number tensors, in float32, as `layout` names them.

    The caller has checked them, or made them for training.
    """

    def matrix(name: str, unit_in: int, unit_out: int, q: int | None = None) -> Matrix:
        weight, shift = tensors[name], tensors[f"{name}.shift"]
        if q is not None:
            weight, shift = by_codebook[name][q], shift[q]
        return Matrix(weight, power_of_two(unit_out - unit_in - shift))

    # Taken apart at once: in training the gradients are then put together at once, too.
    by_codebook = {name: tensors[name].unbind() for name in ("heads.up", "heads.out", "heads.bias")}

    layers = [
        Layer(
            attend=matrix(f"layers.{n}.attend", ACTIVATION_UNIT, ACTIVATION_UNIT),
            distance=tensors[f"layers.{n}.distance"],
            gather=matrix(f"layers.{n}.gather", ACTIVATION_UNIT, STREAM_UNIT),
            up=matrix(f"layers.{n}.up", ACTIVATION_UNIT, ROOT_UNIT),
            down=matrix(f"layers.{n}.down", SQUARE_UNIT, STREAM_UNIT),
        )
        for n in range(config.n_layers)
    ]
    return TorchNetwork(
        config=config,
        vectors=tensors["vectors"]
        * power_of_two(STREAM_UNIT - tensors["vectors.shift"])[:, None, None],
        start=tensors["start"],
        layers=layers,
        frame=matrix("frame", ACTIVATION_UNIT, STREAM_UNIT),
        heads=[
            Head(
                up=matrix("heads.up", ACTIVATION_UNIT, ROOT_UNIT, q),
                out=matrix("heads.out", SQUARE_UNIT, 0, q),
                bias=by_codebook["heads.bias"][q],
                shift=SQUARE_UNIT + int(tensors["heads.out.shift"][q]),
            )
            for q in range(config.n_codebooks)
        ],
        arithmetic=arithmetic or Exact(),
    )
