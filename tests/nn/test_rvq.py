"""The search for codes: what it finds, and what it is made of."""

import itertools

import pytest
import torch
from torch import Tensor

from ncodec.nn.rvq import SEARCHED_AT_ONCE, ResidualVectorQuantiser, largest


def quantiser(n_codebooks: int, size: int, dim: int) -> ResidualVectorQuantiser:
    """Return codebooks each of which is about as large as what those before it leave."""
    torch.manual_seed(size)
    made = ResidualVectorQuantiser(n_codebooks, size, dim)
    made.codebooks *= 0.6 ** torch.arange(n_codebooks)[:, None, None]
    return made


def errors(of: ResidualVectorQuantiser, latents: Tensor, codes: Tensor) -> Tensor:
    """Return the squared error [B, F] of codes."""
    return (latents - of.decode(codes)).square().sum(-1)


def greedy(of: ResidualVectorQuantiser, latents: Tensor, n_q: int) -> Tensor:
    """Return the codes that are nearest, codebook by codebook."""
    residual, codes = latents.double(), []
    for codebook in of.codebooks[:n_q].double():
        codes.append((residual[..., None, :] - codebook).square().sum(-1).argmin(-1))
        residual = residual - codebook[codes[-1]]
    return torch.stack(codes, 1)


@pytest.mark.parametrize("width", [16, 64])
def test_a_wide_beam_finds_the_best_codes_there_are(width: int) -> None:
    """As many beginnings as there are before the last codebook."""
    made, latents = quantiser(3, 4, 5), torch.randn(2, 40, 5)
    every = torch.tensor(list(itertools.product(range(4), repeat=3)))  # [64, Q]
    sums = made.decode(every[:, :, None])[:, 0]  # [64, D]
    distances = (latents[:, :, None].double() - sums.double()).square().sum(-1)  # [B, F, 64]
    best = every[distances.argmin(-1)].transpose(1, 2)
    assert torch.equal(made.encode(latents, 3, width), best)
    assert not torch.equal(made.encode(latents, 3, 1), best)


@pytest.mark.quick
def test_a_beam_of_one_is_greedy() -> None:
    made, latents = quantiser(5, 24, 8), torch.randn(3, 50, 8)
    assert torch.equal(made.encode(latents, 5), greedy(made, latents, 5))
    assert torch.equal(made.encode(latents, 5, 1), greedy(made, latents, 5))


def test_a_search_that_keeps_one_way_is_greedy() -> None:
    made, latents = quantiser(5, 24, 8), torch.randn(50, 8)
    assert torch.equal(made._beam_search(latents, 5, 1).T[None], greedy(made, latents[None], 5))


@pytest.mark.parametrize("n_q", [1, 2, 6])
def test_a_wider_beam_comes_nearer_on_average(n_q: int) -> None:
    made, latents = quantiser(6, 32, 8), torch.randn(2, 300, 8)
    found = [
        float(errors(made, latents, made.encode(latents, n_q, width)).mean())
        for width in (1, 2, 4, 8, 32)
    ]
    if n_q == 1:  # nothing to choose between
        assert found == [found[0]] * 5
    else:
        assert all(later <= sooner for sooner, later in itertools.pairwise(found))


def test_two_codebooks_in_full_leave_no_frame_worse() -> None:
    """All beginnings are kept: greedy codes are among what is chosen from."""
    made, latents = quantiser(2, 20, 6), torch.randn(1, 200, 6)
    first, full = (errors(made, latents, made.encode(latents, 2, n)) for n in (1, 20))
    assert (full <= first + 1e-5).all()


@pytest.mark.parametrize("size", [3, 7, 48, 33])
@pytest.mark.parametrize("width", [2, 5, 64])
def test_codebooks_of_any_size(size: int, width: int) -> None:
    """Also where 32 does not divide the number of ways, and where there are fewer than asked."""
    made, latents = quantiser(4, size, 6), torch.randn(2, 30, 6)
    codes = made.encode(latents, 4, width)
    assert codes.shape == (2, 4, 30)
    assert codes.dtype == torch.int64
    assert 0 <= codes.min() <= codes.max() < size
    least = errors(made, latents, made.encode(latents, 4)).mean()
    assert errors(made, latents, codes).mean() < least


@pytest.mark.parametrize("n_frames", [0, 1, SEARCHED_AT_ONCE, SEARCHED_AT_ONCE + 1])
@pytest.mark.parametrize("width", [1, 4])
def test_frames_are_searched_for_themselves(n_frames: int, width: int) -> None:
    made, latents = quantiser(4, 16, 6), torch.randn(2, n_frames, 6)
    codes = made.encode(latents, 4, width)
    assert codes.shape == (2, 4, n_frames)
    for row, frame in itertools.product(range(2), range(n_frames)):
        alone = made.encode(latents[row : row + 1, frame : frame + 1], 4, width)
        assert torch.equal(codes[row, :, frame], alone[0, :, 0])


@pytest.mark.quick
@pytest.mark.parametrize(
    ("n", "length", "count"),
    [
        (5, 1024, 4),
        (5, 4096, 64),
        (3, 1024, 1),
        (4, 96, 33),  # more than a table has columns
        (4, 64, 64),
        (7, 33, 5),  # a table of one row
        (6, 24, 5),
        (2, 40, 100),  # more than there are
        (2, 7, 9),
        (1, 1, 3),
        (0, 64, 4),
    ],
)
def test_largest_is_what_topk_finds(n: int, length: int, count: int) -> None:
    generator = torch.Generator().manual_seed(length)
    drawn = [torch.randperm(length, generator=generator) for _ in range(n)]  # distinct
    rows = torch.stack(drawn).float() if drawn else torch.zeros(0, length)
    places = largest(rows, count)
    wanted = rows.topk(min(count, length), dim=1)
    assert torch.equal(places, wanted.indices)
    assert torch.equal(rows.gather(1, places), wanted.values)
