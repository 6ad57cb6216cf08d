"""Convolutions over time: against those of torch, whole and in chunks."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ncodec.nn.conv import CausalConv, ChannelUpsample, convolve


def filters(n_channels: int, kernel: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Return a weight [C, 1, 1, k]."""
    return torch.randn(n_channels, 1, 1, kernel, dtype=dtype, requires_grad=True)


def reference(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Convolve [B, T, C] by torch's own function."""
    y = F.conv1d(x.transpose(1, 2), weight[:, :, 0], bias, groups=len(weight))
    return y.transpose(1, 2)


def is_own(y: Tensor) -> bool:
    """Whether the gradient of what `convolve` gave, without a bias, is ours."""
    assert y.grad_fn is not None
    return "Depthwise" in y.grad_fn.name()


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(2)


@pytest.mark.parametrize("kernel", [1, 2, 5, 7])
@pytest.mark.parametrize("n_channels", [2, 3, 16])
@pytest.mark.parametrize("with_bias", [False, True])
def test_values_and_gradients_are_those_of_torch(
    kernel: int, n_channels: int, with_bias: bool
) -> None:
    x = torch.randn(3, 12, n_channels, dtype=torch.float64, requires_grad=True)
    weight = filters(n_channels, kernel)
    bias = torch.randn(n_channels, dtype=torch.float64, requires_grad=True) if with_bias else None
    y, wanted = convolve(x, weight, bias, groups=n_channels), reference(x, weight, bias)
    assert with_bias or is_own(y)
    torch.testing.assert_close(y, wanted, rtol=1e-12, atol=1e-12)
    inputs = [x, weight] if bias is None else [x, weight, bias]
    pull = torch.randn_like(wanted)
    for ours, theirs in zip(
        torch.autograd.grad(y, inputs, pull), torch.autograd.grad(wanted, inputs, pull), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("n_channels", "kernel", "n_samples"), [(2, 1, 4), (4, 3, 3), (3, 7, 11)])
def test_gradients_are_the_slopes(n_channels: int, kernel: int, n_samples: int) -> None:
    x = torch.randn(2, n_samples, n_channels, dtype=torch.float64, requires_grad=True)
    weight = filters(n_channels, kernel)
    assert torch.autograd.gradcheck(lambda x, w: convolve(x, w, None, groups=len(w)), (x, weight))


def test_gradient_of_the_weight_alone() -> None:
    """As where the input comes of an encoder that stays."""
    x, weight = torch.randn(2, 9, 3, dtype=torch.float64), filters(3, 4)
    y, wanted = convolve(x, weight, None, groups=3), reference(x, weight)
    assert is_own(y)
    (ours,), (theirs,) = (torch.autograd.grad(z.square().sum(), weight) for z in (y, wanted))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.quick
def test_without_gradients_it_gives_the_same() -> None:
    x, weight = torch.randn(2, 20, 4), filters(4, 5, torch.float32)
    y = convolve(x, weight, None, groups=4)
    assert is_own(y)
    with torch.no_grad():
        assert torch.equal(convolve(x, weight, None, groups=4), y)


def test_in_bfloat16_it_is_close() -> None:
    x = torch.randn(2, 30, 8, requires_grad=True)
    weight, bias = filters(8, 7, torch.float32), torch.randn(8, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        y = convolve(x, weight, bias, groups=8)
    assert y.dtype == torch.bfloat16
    wanted = reference(x, weight, bias)
    torch.testing.assert_close(
        y.float(), wanted, rtol=0, atol=0.02 * float(wanted.detach().abs().max())
    )
    pull = torch.randn_like(wanted)
    ours = torch.autograd.grad(y, [x, weight, bias], pull.bfloat16())
    theirs = torch.autograd.grad(wanted, [x, weight, bias], pull)
    for found, exact in zip(ours, theirs, strict=True):
        assert found.dtype == torch.float32
        assert (found - exact).norm() < 0.01 * exact.norm()


@pytest.mark.parametrize(
    ("n_in", "n_out", "groups", "stride", "dilation"),
    [
        (1, 6, 1, 1, 1),  # one channel, filtered in several ways
        (1, 1, 1, 1, 1),
        (4, 4, 2, 1, 1),
        (4, 8, 4, 1, 1),
        (4, 4, 4, 2, 1),
        (4, 4, 4, 1, 2),
    ],
)
def test_all_others_are_torchs(
    n_in: int, n_out: int, groups: int, stride: int, dilation: int
) -> None:
    x = torch.randn(2, 20, n_in, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(n_out, n_in // groups, 1, 3, dtype=torch.float64, requires_grad=True)
    y = convolve(x, weight, None, stride, dilation, groups)
    assert not is_own(y)
    wanted = F.conv1d(
        x.transpose(1, 2), weight[:, :, 0], None, stride, dilation=dilation, groups=groups
    )
    torch.testing.assert_close(y, wanted.transpose(1, 2))


@pytest.mark.parametrize(
    ("n_in", "n_out", "stride"), [(8, 16, 2), (16, 32, 4), (32, 64, 5), (24, 48, 6), (16, 32, 8)]
)
def test_strides_in_reduced_precision(n_in: int, n_out: int, stride: int) -> None:
    """Some of these shapes torch 2.13 computes wrongly in bfloat16 on processors with AMX."""
    torch.manual_seed(0)
    x = torch.randn(2, 60 * stride, n_in)
    weight = torch.randn(n_out, n_in, 1, 2 * stride) * (2 * stride * n_in) ** -0.5
    bias = torch.randn(n_out)
    wanted = F.conv1d(x.transpose(1, 2), weight[:, :, 0], bias, stride).transpose(1, 2)
    with torch.autocast("cpu", torch.bfloat16):
        y = convolve(x, weight, bias, stride)
    assert y.dtype == torch.bfloat16
    assert y.shape == wanted.shape
    assert (y - wanted).norm() < 0.01 * wanted.norm()


@pytest.mark.parametrize("sizes", [(9,), (1, 3, 5), (4, 4, 1)])
@pytest.mark.parametrize("stride", [2, 3])
@torch.inference_mode()
def test_upsampling_channel_by_channel(sizes: tuple[int, ...], stride: int) -> None:
    layer = ChannelUpsample(6, stride).double()
    x, memory = torch.randn(2, 9, 6, dtype=torch.float64), {}
    found = torch.cat([layer(part, memory) for part in x.split(sizes, 1)], 1)
    weight = torch.cat([*layer.weight.flip(0)]).T[:, None]  # [C, 1, 2 s], the frame itself first
    wanted = F.conv_transpose1d(x.transpose(1, 2), weight, stride=stride, groups=6)
    torch.testing.assert_close(found, wanted.transpose(1, 2)[:, : 9 * stride], atol=1e-12, rtol=0)


@pytest.mark.parametrize("sizes", [(12,), (2, 4, 6)])
@torch.inference_mode()
def test_the_first_sample_may_stand_for_those_before(sizes: tuple[int, ...]) -> None:
    layer = CausalConv(3, 5, 4, stride=2, bias=False, padding="replicate").double()
    x, memory = torch.randn(2, 12, 3, dtype=torch.float64), {}
    found = torch.cat([layer(part, memory, False) for part in x.split(sizes, 1)], 1)
    before = F.pad(x.transpose(1, 2), (2, 0), mode="replicate")
    wanted = F.conv1d(before, layer.weight[:, :, 0], stride=2).transpose(1, 2)
    torch.testing.assert_close(found, wanted, atol=1e-12, rtol=0)
