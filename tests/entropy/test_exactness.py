"""The integer transformer gives the same integers whatever computes them, and in whatever order."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from random_network import TINY, Arrays, random_network, random_tensors
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ncodec.entropy.layout import (
    EXACT,
    LARGEST,
    LIMIT,
    STREAM_LIMIT,
    STREAM_UNIT,
    EntropyConfig,
    check,
)
from ncodec.entropy.torch_network import State, TorchNetwork, build
from ncodec.entropy.torch_ops import WEIGHT_BITS, Exact, frequencies, norm_scales
from ncodec.errors import ModelInvalid

# Large enough that libraries cut the products up, for threads and in blocks.
MIDDLE = EntropyConfig(
    n_codebooks=3, codebook_size=256, width=128, n_layers=2, n_heads=4, window=16, hidden=384,
    head_hidden=96,
)  # fmt: skip
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def random_codes(seed: int, config: EntropyConfig, n_rows: int, n_frames: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (n_rows, config.n_codebooks, n_frames)
    return torch.randint(0, config.codebook_size, shape, generator=generator)


@torch.inference_mode()
def run(network: TorchNetwork, codes: Tensor, n_q: int, cuts: list[int]) -> tuple[Tensor, State]:
    """Return the frequencies [B, F, n_q, K] of [B, Q, F] codes, in pieces that end at `cuts`."""
    state, found = network.begin(len(codes)), []
    for piece in torch.tensor_split(codes, cuts, dim=-1):
        vectors = [network.vectors[q][piece[:, q]] for q in range(n_q)]  # [B, F, D]
        sums = torch.stack(vectors).sum(0)
        if not sums.shape[1]:
            continue
        before = torch.cat([state.before[:, None], sums[:, :-1]], 1)
        state.before = sums[:, -1]
        hidden = network.advance(network.inputs(before, n_q), state)
        rows = []
        for q in range(n_q):
            logits = network.logits(hidden.flatten(0, 1), q)
            rows.append(frequencies(logits, network.heads[q].shift).unflatten(0, hidden.shape[:2]))
            hidden = hidden + vectors[q]
        found.append(torch.stack(rows, 2))
    return torch.cat(found, 1), state


def whole(network: TorchNetwork, codes: Tensor, n_q: int) -> Tensor:
    return run(network, codes, n_q, [])[0]


def stepwise(network: TorchNetwork, codes: Tensor, n_q: int) -> Tensor:
    return run(network, codes, n_q, list(range(1, codes.shape[-1])))[0]


def one_by_one(network: TorchNetwork, codes: Tensor, n_q: int) -> Tensor:
    return torch.cat([stepwise(network, row[None], n_q) for row in codes])


@settings(deadline=None, max_examples=50)
@given(
    seed=st.integers(0, 2**32 - 1),
    wild=st.booleans(),
    n_rows=st.integers(1, 33),
    n_frames=st.integers(1, 24),
    n_q=st.integers(1, 4),
    cuts=st.lists(st.integers(0, 24), max_size=4),
)
def test_parallel_stepwise_and_batched_agree(
    seed: int, wild: bool, n_rows: int, n_frames: int, n_q: int, cuts: list[int]
) -> None:
    network = random_network(TINY, seed, wild=wild).torch
    codes = random_codes(seed, TINY, n_rows, n_frames)
    expected = whole(network, codes, n_q)
    assert torch.equal(stepwise(network, codes, n_q), expected)
    assert torch.equal(run(network, codes, n_q, sorted(cuts))[0], expected)
    assert torch.equal(whole(network, codes.flip(0), n_q).flip(0), expected)
    if n_rows <= 4:
        assert torch.equal(one_by_one(network, codes, n_q), expected)


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def flushed() -> Iterator[None]:
    assert torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@contextlib.contextmanager
def precision(name: str) -> Iterator[None]:
    """Let products drop low bits of their operands: bfloat16 on processors, TF32 on GPUs."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(name)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


class Products(TorchFunctionMode):
    """Computes matrix products in another way."""

    def __init__(self, product: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.product, self.calls = product, 0

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is F.linear:
            self.calls += 1
            inner, weight, *bias = args
            total = self.product(inner, weight.transpose(-1, -2))
            return total + bias[0] if bias and bias[0] is not None else total
        if func in (torch.Tensor.matmul, torch.Tensor.__matmul__, torch.matmul):
            self.calls += 1
            return self.product(*args)
        return func(*args, **(kwargs or {}))


def in_double(a: Tensor, b: Tensor) -> Tensor:
    return (a.double() @ b.double()).float()


def backwards(a: Tensor, b: Tensor) -> Tensor:
    """Sum in float32 from the last term to the first, without any library's product."""
    total = (a[..., -1:] * b[..., -1:, :]).clone()
    for k in range(a.shape[-1] - 2, -1, -1):
        total += a[..., k : k + 1] * b[..., k : k + 1, :]
    return total


def in_integers(a: Tensor, b: Tensor) -> Tensor:
    return (a.long() @ b.long()).float()


SETTINGS = {
    "one thread": lambda: threads(1),
    "two threads": lambda: threads(2),
    "without oneDNN": lambda: torch.backends.mkldnn.flags(enabled=False),
    "denormals flushed": flushed,
    "bfloat16 operands": lambda: precision("medium"),
    "TF32 operands": lambda: precision("high"),
    "float64 sums": lambda: Products(in_double),
    "float32 sums backwards": lambda: Products(backwards),
    "int64 sums": lambda: Products(in_integers),
}


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("wild", [False, True], ids=["tame", "wild"])
def test_settings_do_not_matter(name: str, wild: bool) -> None:
    @settings(deadline=None, max_examples=4)
    @given(seed=st.integers(0, 2**32 - 1), n_rows=st.integers(1, 33), n_frames=st.integers(2, 40))
    def check_all(seed: int, n_rows: int, n_frames: int) -> None:
        network = random_network(MIDDLE, seed, wild=wild).torch
        codes = random_codes(seed, MIDDLE, n_rows, n_frames)
        expected = whole(network, codes, 3)
        with SETTINGS[name]() as mode:
            assert torch.equal(whole(network, codes, 3), expected)
            assert torch.equal(stepwise(network, codes[:5], 3), expected[:5])
        assert not isinstance(mode, Products) or mode.calls > 20

    check_all()


@pytest.mark.parametrize("device", DEVICES)
def test_strided_weights_on_every_device(device: str) -> None:
    tensors = {n: torch.from_numpy(a).float() for n, a in random_tensors(MIDDLE, 5).items()}
    codes = random_codes(5, MIDDLE, 4, 40)
    expected = whole(build(MIDDLE, tensors), codes, 3)
    strided = {
        name: tensor.to(device).transpose(0, -1).contiguous().transpose(0, -1)
        for name, tensor in tensors.items()
    }
    found = whole(build(MIDDLE, strided), codes.to(device), 3).cpu()
    assert torch.equal(found, expected)


def test_context_is_bounded() -> None:
    """What lies further back than `context_frames` changes nothing, what lies there does."""
    network = random_network(TINY, 8).torch
    codes = random_codes(8, TINY, 1, 40)
    reach = TINY.context_frames
    reached = set()
    for back in range(reach - 3, reach + 4):
        changed = codes.clone()
        changed[..., 39 - back] = (changed[..., 39 - back] + 5) % 16
        if not torch.equal(whole(network, codes, 4)[:, 39], whole(network, changed, 4)[:, 39]):
            reached.add(back)
    assert max(reached) == reach


def test_frequencies_never_see_their_own_code_or_later_ones() -> None:
    network = random_network(TINY, 9).torch
    codes = random_codes(9, TINY, 1, 12)
    expected = whole(network, codes, 4)
    seen = []
    for frame in range(12):
        for q in range(4):
            changed = codes.clone()
            changed[0, q, frame] = (changed[0, q, frame] + 3) % 16
            found = whole(network, changed, 4)
            assert torch.equal(found[:, :frame], expected[:, :frame])
            assert torch.equal(found[:, frame, : q + 1], expected[:, frame, : q + 1])
            if q < 3:
                seen.append(not torch.equal(found[:, frame, q + 1], expected[:, frame, q + 1]))
    assert sum(seen) > 0.9 * len(seen)  # by the next code of the frame, nearly always


@settings(deadline=None, max_examples=80)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.sampled_from([2, 3, 16, 1000, 1024, 4096]),
    shift=st.integers(3, 23),
    spread=st.sampled_from([0, 1, 1000, EXACT // 4]),
)
def test_frequencies_are_positive_and_have_room(
    seed: int, size: int, shift: int, spread: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randint(-spread, spread + 1, (5, size), generator=generator).float()
    rows = frequencies(logits.clone(), shift).long()
    assert torch.equal(rows, frequencies(logits.to(torch.int32), shift))
    assert rows.min() >= 1
    assert rows.sum(1).min() >= 1 << 19
    assert rows.sum(1).max() <= 1 << 21
    shares = torch.exp2((logits - logits.amax(1, keepdim=True)).double() / 2**shift)
    ideal = shares / shares.sum(1, keepdim=True)
    found = rows / rows.sum(1, keepdim=True)
    cost = (ideal * (ideal / found).log2().nan_to_num(0, 0, 0)).sum(1)
    assert cost.max() < 0.03  # bits per code: what the floor and straight lines cost


def test_the_largest_sizes_keep_their_sums_exact() -> None:
    """The other sums depend on the weights; `check` looks at those."""
    assert LARGEST["width"] * STREAM_LIMIT < EXACT  # magnitudes, for the norm
    assert (LARGEST["window"] * LIMIT) << WEIGHT_BITS < EXACT  # weighted values
    assert (LARGEST["n_codebooks"] * LIMIT << STREAM_UNIT) + STREAM_LIMIT < EXACT  # vectors
    # A quotient of such sums, in float32, is on the right side of every half: 1 / (2 den) is more
    # than half a unit in the last place of numbers up to 127.
    assert 1 / (2 * (LARGEST["window"] << WEIGHT_BITS)) > 2.0**-18


def test_norm_brings_rows_to_one_level() -> None:
    generator = torch.Generator().manual_seed(0)
    for level in (3, 100, 5000):
        rows = (torch.randn(50, 192, generator=generator) * level).round().clamp(-32767, 32767)
        means = Exact().norm(rows, norm_scales(192)).abs().mean(1)
        assert ((means > 20.5) & (means < 22)).all(), level
    assert not Exact().norm(torch.zeros(1, 192), norm_scales(192)).any()


def with_first(name: str, value: int) -> Callable[[Arrays], None]:
    def change(tensors: Arrays) -> None:
        tensors[name].flat[0] = value

    return change


def without(name: str) -> Callable[[Arrays], None]:
    def change(tensors: Arrays) -> None:
        del tensors[name]

    return change


def floating(name: str) -> Callable[[Arrays], None]:
    def change(tensors: Arrays) -> None:
        tensors[name] = tensors[name].astype(np.float32)

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (with_first("heads.bias", EXACT // 2), "heads.out: a sum can reach"),
        (with_first("layers.1.distance", -(1 << 22)), "layers.1.distance holds 4194304, at most"),
        (with_first("layers.0.up", -128), "layers.0.up holds 128, at most 127"),
        (with_first("vectors", -128), "vectors holds 128"),
        (with_first("start", 40000), "start holds 40000"),
        (with_first("vectors.shift", 9), "vectors.shift reaches from . to 9"),
        (with_first("heads.up.shift", 21), "heads.up.shift reaches from"),
        (with_first("heads.up.shift", -1), "heads.up.shift reaches from -1"),
        (without("frame"), "tensor frame: unknown or missing"),
        (floating("frame"), r"tensor frame: float32 \[24, 24\], expected int8"),
    ],
)
def test_a_broken_bound_is_an_error(change: Callable[[Arrays], None], said: str) -> None:
    tensors = random_tensors(TINY, 1)
    change(tensors)
    with pytest.raises(ModelInvalid, match=said):
        check(TINY, tensors)


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({"width": 600}, "width is 600, expected 1 to 512"),
        ({"width": 258, "n_heads": 1}, "258 units a head leave no room"),
        ({"hidden": 2000}, "layers.0.down: a sum can reach"),
        ({"window": 257}, "window is 257"),
        ({"n_heads": 5}, "24 units cannot be shared by 5 heads$"),
        ({"n_layers": 1 << 24}, "n_layers is 16777216, expected 1 to 64"),
        ({"codebook_size": 1}, "codebook_size is 1"),
        ({"n_layers": 0}, "n_layers is 0"),
        ({"width": "24"}, "width is '24'"),
    ],
)
def test_sizes_that_could_overflow_are_an_error(sizes: dict[str, Any], said: str) -> None:
    config = replace(TINY, **sizes)
    tensors = random_tensors(TINY, 1)
    if sizes == {"hidden": 2000}:
        tensors["layers.0.down"] = np.full((24, 2000), 127, np.int8)
        tensors["layers.0.up"] = np.zeros((2000, 24), np.int8)
        tensors["layers.0.up.shift"] = np.zeros(2000, np.int8)
        config = replace(config, n_layers=1)
        tensors = {n: t for n, t in tensors.items() if not n.startswith("layers.1")}
    with pytest.raises(ModelInvalid, match=said):
        check(config, tensors)
