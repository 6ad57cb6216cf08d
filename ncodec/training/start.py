"""A start for networks on the waveform that is a codec already, so that training has less to find.

Left to chance, they pass nothing on for thousands of steps. Here they begin as a transform
codec: the encoder gathers the samples of a frame in its channels, turns them into the lowest
coefficients of a discrete cosine transform (Ahmed, Natarajan and Rao, IEEE Trans. Computers 1974),
and the decoder goes the same way back. Residual units add nothing at first, nor does an LSTM, and
at the levels of audio an ELU is not far from linear. Channels without a task are left as drawn.

Shapes: C channels, D latent, N samples a frame, k kernel, s stride.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ncodec.errors import UsageError
from ncodec.models.hilcodec import (
    DecoderLevel,
    EncoderLevel,
    Hilcodec,
    HilcodecConfig,
    HilDecoder,
    HilEncoder,
)
from ncodec.models.torch_codec import TorchCodec
from ncodec.nn import hilcodec
from ncodec.nn.conv import Conv, Upsample
from ncodec.nn.seanet import ResidualUnit, Seanet, SeanetDecoder, SeanetEncoder, SkipLstm

CONSTANT = 2.0  # the last of HILCodec's latents before they are brought to one length
COEFFICIENT = 0.25  # that a coefficient is multiplied with: so it is as small as samples are


def cosine_transform(n: int, n_kept: int) -> Tensor:
    """Return the first rows of the orthonormal DCT-II of `n` samples, [n_kept, n]."""
    place = torch.arange(n, dtype=torch.float64) + 0.5
    rows = torch.arange(n_kept, dtype=torch.float64)[:, None]
    basis = torch.cos(math.pi / n * rows * place) * math.sqrt(2 / n)
    basis[0] /= math.sqrt(2)
    return basis.float()


@torch.no_grad()
def start(codec: TorchCodec, kind: str) -> None:
    """Set the weights of a codec. Raises UsageError where there is no such start."""
    if kind != "transform":
        raise UsageError(f"start {kind!r} is unknown; expected 'transform'")
    encoder, decoder = codec.get_submodule("encoder"), codec.get_submodule("decoder")
    if isinstance(codec, Hilcodec):
        _start_hilcodec(codec.encoder, codec.decoder, codec.config)
    elif isinstance(encoder, SeanetEncoder) and isinstance(decoder, SeanetDecoder):
        _start_seanet(encoder, decoder)
    else:
        raise UsageError(f"start 'transform' is for codecs on the waveform, not for {codec.name}")


def _start_seanet(encoder: SeanetEncoder, decoder: SeanetDecoder) -> None:
    shape = encoder.shape
    if not (shape.reach == "causal" and shape.n_channels == 1):
        raise UsageError("start 'transform' is for causal codecs of one channel")
    _check(shape.strides, shape.n_filters, shape.latent)
    for unit in (*encoder.layers, *decoder.layers):
        if isinstance(unit, ResidualUnit):
            _pass(unit)
        elif isinstance(unit, SkipLstm):
            _silence(unit)
    _start_encoder([layer for layer in encoder.layers if isinstance(layer, Conv)], shape)
    ends = [layer for layer in decoder.layers if isinstance(layer, Conv)]
    ups = [layer for layer in decoder.layers if isinstance(layer, Upsample)]
    _start_decoder(ends[0], ups, ends[1], shape)


def _check(strides: Sequence[int], width: int, latent: int) -> None:
    """Raise UsageError unless a frame's samples find room; `width` is that of the first level."""
    block, widest = math.prod(strides[:-1]), width * 2 ** len(strides)
    if not (block <= widest // 2 and latent <= widest):
        raise UsageError(
            f"start 'transform': the last but one level has {widest // 2} channels for {block} "
            f"samples, the last {widest} for {latent} latents"
        )


def _pass(unit: ResidualUnit) -> None:
    """Let a unit give what it reads."""
    unit.widen.weight.zero_()
    assert unit.widen.bias is not None
    unit.widen.bias.zero_()
    if unit.shortcut is not None:
        assert unit.shortcut.bias is not None
        unit.shortcut.weight.copy_(torch.eye(len(unit.shortcut.weight))[:, :, None, None])
        unit.shortcut.bias.zero_()


def _silence(unit: SkipLstm) -> None:
    """Let the last layer of an LSTM remember nothing."""
    lstm: nn.LSTM = unit.lstm
    for name, parameter in lstm.named_parameters():
        if name.endswith(f"_l{lstm.num_layers - 1}"):
            parameter[2 * lstm.hidden_size : 3 * lstm.hidden_size] = 0  # the cells' new content


def _set(layer: Conv, weight: Tensor) -> None:
    """Let the first rows of a layer be `weight` [C', C, k]."""
    n_out, n_in, _ = weight.shape
    assert layer.bias is not None
    layer.weight[:n_out] = 0
    layer.weight[:n_out, :n_in, 0] = weight
    layer.bias[:n_out] = 0


def _last_tap(size: int, kernel: int) -> Tensor:
    """Return a weight [C, C, k] that gives what it reads."""
    weight = torch.zeros(size, size, kernel)
    weight[:, :, -1] = torch.eye(size)
    return weight


def _start_encoder(convs: list[Conv], shape: Seanet) -> None:
    first, *downs, last = convs
    _set(first, _last_tap(1, shape.kernel))
    gathered = 1
    for layer, stride in zip(downs[:-1], shape.strides[:-1], strict=True):
        weight = torch.zeros(stride, gathered, gathered, 2 * stride)
        for time in range(stride):
            weight[time, :, :, stride + time] = torch.eye(gathered)
        _set(layer, weight.flatten(0, 1))
        gathered *= stride
    stride = shape.strides[-1]
    basis = COEFFICIENT * cosine_transform(stride * gathered, shape.latent)  # [D, N]
    weight = torch.zeros(shape.latent, gathered, 2 * stride)
    weight[:, :, stride:] = basis.view(shape.latent, stride, gathered).transpose(1, 2)
    _set(downs[-1], weight)
    _set(last, _last_tap(shape.latent, shape.encoder_last_kernel))


def _start_decoder(first: Conv, ups: list[Upsample], last: Conv, shape: Seanet) -> None:
    _set(first, _last_tap(shape.latent, shape.kernel))
    gathered, stride = math.prod(shape.strides[:-1]), shape.strides[-1]
    basis = cosine_transform(stride * gathered, shape.latent) / COEFFICIENT
    rows = _rows(ups[0], gathered)
    rows[:, :, : shape.latent, 1] = basis.T.reshape(stride, gathered, shape.latent)
    for layer, stride in zip(ups[1:], reversed(shape.strides[:-1]), strict=True):
        inside = gathered // stride
        rows = _rows(layer, inside)
        for time in range(stride):
            rows[time, :, time * inside : (time + 1) * inside, 1] = torch.eye(inside)
        gathered = inside
    _set(last, _last_tap(1, shape.decoder_last_kernel))


def _rows(layer: Upsample, n_out: int) -> Tensor:
    """Return the first channels of what an upsampling gives, [s, C', C, 2], set to zero."""
    layer.bias[:n_out] = 0
    return layer.weight.view(layer.stride, layer.n_out, -1, 2)[:, :n_out].zero_()


def _start_hilcodec(encoder: HilEncoder, decoder: HilDecoder, config: HilcodecConfig) -> None:
    """Let a filter for each channel pick a sample, and the 1x1 convolutions gather and transform.

    The transform is that of the blocks that the last stride finds in a frame. Latents are brought
    to one length by the network, so the last is a constant that the others are relative to.
    """
    for width in (config.encoder_width, config.decoder_width):
        _check(config.strides, width, config.latent)
    *strides, last_stride = config.strides
    block, n_kept = math.prod(strides), config.latent // last_stride
    basis = cosine_transform(block, n_kept)  # [n, N]
    first = encoder.first
    first.weight[:, 0] = 0
    first.weight[-1, 0] = 1 / (first.wav_scale * first.scale)
    first.bias[0] = 0
    gathered = 1
    for level, stride in zip(encoder.levels, config.strides, strict=True):
        assert isinstance(level, EncoderLevel)
        mixed = torch.eye(gathered) if gathered < block else basis
        _pick(level.down, mixed / _carried(level.units), torch.arange(stride) + stride)
        gathered *= stride
    n = n_kept * last_stride
    encoder.depthwise.weight[:n] = 0
    encoder.depthwise.weight[:n, ..., -1] = 1
    encoder.pointwise.weight.zero_()
    encoder.pointwise.weight[:n, :n, 0, 0] = torch.eye(n)
    assert encoder.pointwise.bias is not None
    encoder.pointwise.bias.zero_()
    encoder.pointwise.weight[-1] = 0
    encoder.pointwise.bias[-1] = CONSTANT
    found = config.latent**0.5 / CONSTANT
    mixed = torch.eye(n, config.latent) / found
    mixed[:, -1] = 0
    _pick(decoder.first, mixed, torch.tensor([-1]))
    carried = 1.0
    for level, stride in zip(decoder.levels, reversed(config.strides), strict=True):
        assert isinstance(level, DecoderLevel)
        mixed = basis if gathered > block else torch.eye(gathered // stride)
        _spread(level.up, mixed / carried)
        gathered //= stride
        carried = _carried(level.units)
    decoder.last.weight.zero_()
    decoder.last.weight[0, -1] = 1 / (decoder.last.scale * carried)


def _carried(units: nn.ModuleList) -> float:
    """Return what residual units that add nothing multiply with."""
    return math.prod(unit.carry for unit in units if isinstance(unit, hilcodec.ResidualUnit))


def _pick(layer: hilcodec.Separable, mixed: Tensor, taps: Tensor) -> None:
    """Let the first channels be [n, C] mixtures of what a layer reads, each at every tap."""
    n, n_in = mixed.shape
    used = slice(n * len(taps))
    layer.pointwise[:, used] = 0
    layer.pointwise[:n_in, used] = mixed.T.repeat(1, len(taps))
    layer.depthwise[used] = 0
    for number, tap in enumerate(taps.tolist()):
        layer.depthwise[number * n : (number + 1) * n, ..., tap] = 1 / layer.scale
    layer.bias[used] = 0


def _spread(layer: hilcodec.SeparableUpsample, mixed: Tensor) -> None:
    """Give what `_pick` gathered back: [n, C'] of each of the stride's samples."""
    (n, n_out), stride = mixed.shape, layer.taps.shape[1]
    layer.taps[:, :, : n * stride] = 0
    for time in range(stride):
        layer.taps[0, time, time * n : (time + 1) * n] = 1
    layer.pointwise[:, :n_out] = 0
    layer.pointwise[: n * stride, :n_out] = mixed.repeat(stride, 1)
    layer.bias[:n_out] = 0
