"""Transformers with a sliding window: what a step sees, and what is remembered for the next."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from ncodec.nn.attention import CausalTransformer, WindowedAttention, rotation

WIDTH, HEADS, INSIDE, WINDOW, LAYERS = 12, 2, 20, 5, 3


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(6)


@pytest.fixture
def transformer() -> CausalTransformer:
    made = CausalTransformer(WIDTH, LAYERS, HEADS, INSIDE, WINDOW).double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return made.eval()


def steps(n: int, batch: int = 2) -> Tensor:
    return torch.randn(batch, n, WIDTH, dtype=torch.float64)


def by_hand(layer: WindowedAttention, x: Tensor) -> Tensor:
    """Attend over [T, C], one query, head and key after the other."""
    size = WIDTH // HEADS
    queries, keys, values = (x @ layer.enter.weight.T).split(WIDTH, 1)

    def turned(row: Tensor, place: int) -> Tensor:
        half = size // 2
        pairs = torch.complex(row[:half], row[half:])
        angles = [place / 10_000 ** (2 * i / size) for i in range(half)]
        pairs = pairs * torch.tensor([complex(math.cos(a), math.sin(a)) for a in angles])
        return torch.cat([pairs.real, pairs.imag])

    out = torch.zeros_like(x)
    for place in range(len(x)):
        for head in range(HEADS):
            part = slice(head * size, (head + 1) * size)
            places = range(max(0, place - WINDOW + 1), place + 1)
            query = turned(queries[place, part], place)
            scores = [query @ turned(keys[other, part], other) / size**0.5 for other in places]
            weights = torch.stack(scores).softmax(0)
            out[place, part] = weights @ values[places.start : places.stop, part]
    return out @ layer.leave.weight.T


@torch.inference_mode()
def test_attention_is_what_the_papers_say() -> None:
    layer, x = WindowedAttention(WIDTH, HEADS, WINDOW).double(), steps(4 * WINDOW, 1)
    n = x.shape[1]
    turned = rotation(0, n, WIDTH // HEADS, x)
    seen = torch.tensor([[0 <= i - j < WINDOW for j in range(n)] for i in range(n)])
    found = layer(x, turned, seen, {})
    torch.testing.assert_close(found[0], by_hand(layer, x[0]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("sizes", [(1,), (2, 1), (WINDOW,), (WINDOW - 1,), (WINDOW + 1, 3), (17,)])
@torch.inference_mode()
def test_chunks_equal_the_whole(transformer: CausalTransformer, sizes: tuple[int, ...]) -> None:
    x, memory = steps(41), {}
    whole, parts, start = transformer(x, {}), [], 0
    while start < x.shape[1]:
        for size in sizes:
            parts.append(transformer(x[:, start : start + size], memory))
            start += size
            if start >= x.shape[1]:
                break
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-12, rtol=0)


def test_in_training_there_is_one_block(transformer: CausalTransformer) -> None:
    x = steps(41)
    with torch.inference_mode():
        wanted = transformer(x, {})
    found = transformer(x, {})
    torch.testing.assert_close(found, wanted, atol=1e-12, rtol=0)
    found.sum().backward()
    assert all(parameter.grad is not None for parameter in transformer.parameters())


@torch.inference_mode()
def test_a_step_depends_on_as_many_before_as_is_said(transformer: CausalTransformer) -> None:
    x, n = steps(60, 1), transformer.n_before
    assert n == LAYERS * (WINDOW - 1)
    whole = transformer(x, {})[:, 20 + n]
    changed = [x.clone(), x.clone(), x.clone()]
    for number, place in enumerate((19, 20, 20 + n + 1)):
        changed[number][:, place] += steps(1, 1)[:, 0]
    before, first, after = (transformer(each, {})[:, 20 + n] for each in changed)
    assert torch.equal(before, whole)
    assert torch.equal(after, whole)
    assert (first - whole).abs().max() > 1e-9


@torch.inference_mode()
def test_only_distances_count(transformer: CausalTransformer) -> None:
    """A stream that started hours ago goes on as a new one would."""
    x = steps(30)
    wanted = transformer.float()(x.float(), {})
    memory: dict[Any, Any] = {transformer: 25 * 3600 * 10}
    for layer in transformer.layers:  # as if the steps before had been forgotten
        nothing = torch.zeros(2, HEADS, WINDOW - 1, WIDTH // HEADS)
        memory[layer.attention] = (nothing, nothing)
    late = transformer(x.float(), memory)
    # Zeros stand for what came before, so the first steps differ; the rest has forgotten them.
    n = transformer.n_before
    torch.testing.assert_close(late[:, n:], wanted[:, n:], atol=1e-5, rtol=0)


@torch.inference_mode()
def test_memory_is_bounded_by_the_window(transformer: CausalTransformer) -> None:
    memory: dict[Any, Any] = {}
    for _ in range(30):
        transformer(steps(7), memory)
    kept = [memory[layer.attention] for layer in transformer.layers]
    assert {part.shape for each in kept for part in each} == {(2, HEADS, WINDOW - 1, 6)}
    assert {part.untyped_storage().nbytes() for each in kept for part in each} == {
        2 * HEADS * (WINDOW - 1) * 6 * 8  # and not the storage of more, of which it is a part
    }
    assert memory[transformer] == 30 * 7


def test_angles_stay_exact() -> None:
    late = 10**7  # steps: four days
    cosines, sines = rotation(late, 2, 8, torch.zeros(1))
    for row, place in enumerate((late, late + 1)):
        for i in range(4):
            angle = place / 10_000 ** (i / 4)
            assert float(cosines[row, i]) == pytest.approx(math.cos(angle), abs=1e-6)
            assert float(sines[row, i]) == pytest.approx(math.sin(angle), abs=1e-6)
