"""Products, blocks and searches of the kernel against torch, on every path that there is here."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ncodec import native
from ncodec.native.networks import Codebooks, Matrix, Stack, padded
from ncodec.nn.convnext import ConvNeXtStack

PATHS = native.paths()
FUSED = [path for path in PATHS if path != "plain"]
pytestmark = pytest.mark.skipif(not PATHS, reason="the kernel was not built")


def random(seed: int, *shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def random_stack(
    width: int, n_blocks: int, kernel: int, expansion: int, activation: str, seed: int
) -> ConvNeXtStack:
    torch.manual_seed(seed)
    made = ConvNeXtStack(width, n_blocks, kernel, expansion, activation).eval()
    for parameter in made.parameters():
        parameter.requires_grad_(False).add_(0.1 * torch.randn_like(parameter))
    return made


def arrays_of(stack: ConvNeXtStack) -> dict[str, NDArray[Any]]:
    return {name: tensor.numpy() for name, tensor in stack.state_dict().items()}


def wide(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pad rows as the kernel wants them."""
    return np.pad(rows, ((0, 0), (0, padded(rows.shape[1]) - rows.shape[1])))


@pytest.mark.quick
@settings(deadline=None, max_examples=60)
@given(
    n_rows=st.integers(0, 40), n_in=st.integers(1, 800), n_out=st.integers(1, 70),
    more=st.integers(0, 9), halves=st.booleans(), with_bias=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_products(
    n_rows: int, n_in: int, n_out: int, more: int, halves: bool, with_bias: bool, seed: int
) -> None:
    weights, bias = random(seed, n_out, n_in), random(seed + 1, n_out) if with_bias else None
    weights = weights.astype(np.float16) if halves else weights
    rows = random(seed + 2, n_rows, n_in + more)
    wanted = rows[:, :n_in].astype(np.float64) @ weights.T.astype(np.float64)
    wanted = wanted if bias is None else wanted + bias
    found = {path: Matrix(weights, bias, path)(rows) for path in PATHS}
    for each in found.values():
        assert each.shape == (n_rows, padded(n_out))
        np.testing.assert_allclose(each[:, :n_out], wanted, atol=2e-5 * n_in**0.5)
        assert not each[:, n_out:].any()
    assert all(np.array_equal(found[path], found[FUSED[0]]) for path in FUSED)
    if n_rows > 1:  # a row is what it is, whatever is computed beside it
        path = PATHS[0]
        alone = np.concatenate([Matrix(weights, bias, path)(row[None]) for row in rows])
        assert np.array_equal(alone, found[path])


@pytest.mark.quick
def test_half_precision_is_read_exactly() -> None:
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    every = every[np.isfinite(every)]
    found = Matrix(every[:, None], None, PATHS[0])(np.ones((1, 1), np.float32))
    assert np.array_equal(found[0, : len(every)], every.astype(np.float32))


def test_frames_that_overlap() -> None:
    weights, samples = random(0, 24, 20), random(1, 200)
    frames = np.lib.stride_tricks.sliding_window_view(samples, 20)[::10]
    matrix = Matrix(weights, None, PATHS[0])
    assert np.array_equal(matrix.strided(samples, 10, len(frames)), matrix(frames.copy()))


@pytest.mark.parametrize("path", PATHS)
@settings(deadline=None, max_examples=15)
@given(
    width=st.sampled_from([1, 15, 16, 24, 45, 128]), n_blocks=st.integers(1, 3),
    kernel=st.integers(1, 8), expansion=st.integers(1, 3),
    activation=st.sampled_from(["gelu", "relu2"]), conditioned=st.booleans(),
    n_frames=st.integers(1, 230), cuts=st.lists(st.integers(0, 230), max_size=3),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_blocks(
    path: str, width: int, n_blocks: int, kernel: int, expansion: int, activation: str,
    conditioned: bool, n_frames: int, cuts: list[int], seed: int,
) -> None:  # fmt: skip
    module = random_stack(width, n_blocks, kernel, expansion, activation, seed)
    stack = Stack(arrays_of(module), n_blocks, activation, path)
    rows, condition = random(seed, n_frames, width), None
    if conditioned:
        condition = 0.3 * random(seed + 1, n_blocks, 2, width)
    given = None if condition is None else torch.from_numpy(condition)[None]
    wanted, carried = module(torch.from_numpy(rows)[None], module.start(1), given)
    more = padded(width) - width
    if condition is not None:
        condition = np.pad(condition, ((0, 0), (0, 0), (0, more)))
    past = stack.start()
    found = stack.run(wide(rows), past, condition)
    tolerance = 1e-5 * max(1.0, float(wanted.abs().max()))
    np.testing.assert_allclose(found[:, :width], wanted[0], atol=tolerance)
    assert not found[:, width:].any()
    for block, own in enumerate(carried):
        np.testing.assert_allclose(past[block, :, :width], own[0], atol=tolerance)
    again, places = stack.start(), [0, *sorted(min(cut, n_frames) for cut in cuts), n_frames]
    parts = [
        stack.run(wide(rows[first:end]), again, condition)
        for first, end in itertools.pairwise(places)
    ]
    assert np.array_equal(np.concatenate(parts), found)  # to the last bit, however it is cut
    assert np.array_equal(again, past)


@pytest.mark.parametrize("activation", ["gelu", "relu2"])
def test_paths_with_fused_products_agree_to_the_last_bit(activation: str) -> None:
    module = random_stack(45, 2, 5, 3, activation, 3)
    rows = 5 * random(0, 100, 45)
    found = []
    for path in FUSED:
        stack = Stack(arrays_of(module), 2, activation, path)
        found.append(stack.run(wide(rows), stack.start()))
    assert all(np.array_equal(each, found[0]) for each in found)


def test_gelu_over_its_whole_range() -> None:
    x = np.concatenate([np.linspace(-12, 12, 4001), [-1e30, -100, 100, 1e30]]).astype(np.float32)
    module = ConvNeXtStack(1, 1, 1, 1, "gelu").eval()
    tensors = {name: np.ones_like(array) for name, array in arrays_of(module).items()}
    for name in ("depthwise_bias", "norm.weight", "project.bias"):
        tensors[f"blocks.0.{name}"] = np.zeros(1, np.float32)
    tensors["blocks.0.expand.weight"] = np.zeros((1, 1), np.float32)
    wanted = torch.nn.functional.gelu(torch.from_numpy(x).double(), approximate="tanh").numpy()
    for value, right in zip(x, wanted, strict=True):
        # One unit, whose input is a bias: the output is the activation, then a norm of one number,
        # which is its shift; so it is read from the past of a second block.
        two = dict(tensors)
        two["blocks.0.expand.bias"] = np.array([value])
        for name, tensor in tensors.items():
            two[name.replace("blocks.0", "blocks.1")] = tensor
        two["blocks.0.depthwise"] = two["blocks.1.depthwise"] = np.ones((1, 1, 2), np.float32)
        stack = Stack(two, 2, "gelu", PATHS[0])
        past = stack.start()
        stack.run(wide(np.zeros((1, 1), np.float32)), past)
        np.testing.assert_allclose(past[1, 0, 0], right, rtol=2e-6, atol=1e-7)


@pytest.mark.quick
def test_what_does_not_fit_is_refused() -> None:
    path, rows = PATHS[0], random(0, 3, 8)
    matrix = Matrix(random(1, 4, 9), None, path)
    with pytest.raises(ValueError, match="product"):
        matrix(rows)
    with pytest.raises(ValueError, match="no such path"):
        Matrix(rows, None, "sse9")
    with pytest.raises(ValueError, match="tensor: expected 3 numbers"):
        Matrix(rows, random(0, 4), path)
    stack = Stack(arrays_of(random_stack(8, 1, 3, 2, "gelu", 0)), 1, "gelu", path)
    with pytest.raises(ValueError, match="run"):
        stack.run(rows, stack.start())
    with pytest.raises(ValueError, match="run"):
        stack.run(wide(rows), np.zeros(3, np.float32))
    tensors = arrays_of(random_stack(8, 1, 3, 2, "gelu", 0))
    tensors["blocks.0.scale"] = np.zeros(7, np.float32)
    with pytest.raises(ValueError, match="tensor: expected 8 numbers"):
        Stack(tensors, 1, "gelu", path)
    books = Codebooks(random(0, 2, 5, 8), path)
    for latents, n_q, n_beams in (
        (random(0, 3, 7), 2, 1),
        (rows, 3, 1),
        (rows, 2, 65),
        (rows, 0, 1),
    ):
        with pytest.raises(ValueError, match="search"):
            books.search(latents, n_q, n_beams)


def in_lanes(rows: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the products [..., K] of rows [..., D+] and others [K, D+], summed in 16 lanes."""
    sums = np.zeros((*rows.shape[:-1], len(others), 16), np.float32)
    for first in range(0, rows.shape[-1], 16):
        sums += rows[..., None, first : first + 16] * others[:, first : first + 16]
    for half in (8, 4, 2, 1):
        sums = sums[..., :half] + sums[..., half : 2 * half]
    return sums[..., 0]


def searched(
    latents: NDArray[np.float32], vectors: NDArray[np.float32], n_q: int, n_beams: int
) -> NDArray[np.int64]:
    """Return the codes of a beam search that looks at every code of every beam."""
    found = []
    for latent in wide(latents):
        rows, begun = latent[None], np.zeros((1, 0), np.int64)
        for q in range(n_q):
            book = wide(vectors[q])
            energies = np.zeros(len(book), np.float32)
            for column in vectors[q].T:
                energies += column * column
            known = np.float32(-0.5) * np.array([in_lanes(row, row[None])[0] for row in rows])
            scores = known[:, None] + (in_lanes(rows, book) + np.float32(-0.5) * energies)
            count = min(1 if q == n_q - 1 else n_beams, scores.size)
            best = np.argsort(-scores.reshape(-1), kind="stable")[:count]
            parents, codes = best // len(book), best % len(book)
            rows = rows[parents] - book[codes]
            begun = np.concatenate([begun[parents], codes[:, None]], 1)
        found.append(begun[0])
    return np.array(found)


@pytest.mark.quick
@settings(deadline=None, max_examples=60)
@given(
    size=st.integers(1, 70), dim=st.integers(1, 40), n_q=st.integers(1, 3),
    n_beams=st.sampled_from([1, 2, 4, 20, 64]), scale=st.sampled_from([1e-18, 1e-3, 1, 1e3, 1e12]),
    spread=st.sampled_from([0, 1, 4]), alike=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_a_first_look_in_8_bits_changes_no_code(
    size: int, dim: int, n_q: int, n_beams: int, scale: float, spread: float, alike: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    vectors = random(seed, n_q, size, dim) * np.exp(spread * rng.standard_normal((n_q, size, 1)))
    if alike:  # so that rounding to 8 bits could take one for another, or they are the same
        vectors = np.ones_like(vectors) + 1e-3 * np.round(vectors)
    vectors = (vectors * scale).astype(np.float32)
    latents = (random(seed + 1, 5, dim) * scale).astype(np.float32)
    latents[1] *= 1e-3
    latents[2] = vectors[0, 0]
    latents[3] = 0
    wanted = searched(latents, vectors, n_q, n_beams)
    for path in PATHS:
        assert np.array_equal(Codebooks(vectors, path).search(latents, n_q, n_beams), wanted), path


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -3e38, 3e38])
def test_latents_that_are_no_numbers_have_codes(path: str, value: float) -> None:
    books, latents = Codebooks(random(0, 3, 30, 20), path), random(1, 4, 20)
    latents[2, 7] = value
    for n_beams in (1, 4):
        found = books.search(latents, 3, n_beams)
        assert ((found >= 0) & (found < 30)).all()
        calm = np.array([0, 1, 3])
        assert np.array_equal(found[calm], books.search(latents[calm], 3, n_beams))
