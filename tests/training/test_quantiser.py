import pytest
import torch

from ncodec.nn.rvq import ResidualVectorQuantiser
from ncodec.training.quantiser import TrainedQuantiser


@pytest.fixture
def trained() -> TrainedQuantiser:
    torch.manual_seed(0)
    return TrainedQuantiser(ResidualVectorQuantiser(4, 16, 8), decay=0.9)


def test_codes_are_the_nearest(trained: TrainedQuantiser) -> None:
    quantiser = trained.quantiser
    latents = torch.randn(2, 5, 8)
    codes = quantiser.encode(latents, 4)
    residual = latents.double()
    for q in range(4):
        distance = torch.cdist(residual, quantiser.codebooks[q].double().expand(2, -1, -1))
        assert torch.equal(codes[:, q], distance.argmin(-1))
        residual = residual - quantiser.codebooks[q][codes[:, q]]
    torch.testing.assert_close(quantiser.decode(codes), (latents - residual).float())


def test_k_means_finds_clusters(trained: TrainedQuantiser) -> None:
    centres = torch.randn(16, 8) * 5
    points = centres.repeat(40, 1) + 0.01 * torch.randn(640, 8)
    before = (points - trained.quantiser.decode(trained.quantiser.encode(points[None], 1))).norm()
    trained.fit(points, iterations=20)
    after = (points - trained.quantiser.decode(trained.quantiser.encode(points[None], 1))).norm()
    assert after < 0.5 * before


def test_each_codebook_lowers_the_error(trained: TrainedQuantiser) -> None:
    points = torch.randn(2000, 8)
    trained.fit(points)
    errors = []
    for n_q in range(1, 5):
        decoded = trained.quantiser.decode(trained.quantiser.encode(points[None], n_q))
        errors.append(float((points - decoded).square().mean()))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.3


def test_training_pass_is_what_inference_does(trained: TrainedQuantiser) -> None:
    trained.eval()
    latents = torch.randn(3, 7, 8)
    n_q = torch.tensor([1, 4, 2])
    result = trained(latents, n_q)
    for row, count in enumerate(n_q):
        codes = trained.quantiser.encode(latents[row : row + 1], int(count))
        wanted = trained.quantiser.decode(codes)[0]
        torch.testing.assert_close(result.latents[row], wanted, atol=1e-5, rtol=0)


def test_gradient_passes_straight_through_and_commitment_reaches_every_stage(
    trained: TrainedQuantiser,
) -> None:
    trained.eval()
    latents = torch.randn(2, 6, 8, requires_grad=True)
    result = trained(latents, torch.tensor([4, 4]))
    (gradient,) = torch.autograd.grad(result.latents.sum(), latents, retain_graph=True)
    torch.testing.assert_close(gradient, torch.ones_like(latents))
    (first,) = torch.autograd.grad(trained(latents, torch.tensor([1, 1])).commitment, latents)
    (every,) = torch.autograd.grad(result.commitment, latents)
    assert not torch.allclose(first, every)  # later codebooks pull on the latents too
    assert every.abs().max() > 0


def test_codebooks_follow_the_latents(trained: TrainedQuantiser) -> None:
    target = torch.randn(16, 8)
    trained.quantiser.codebooks[0] = trained.sums[0] = target + 0.05
    for _ in range(60):
        trained(target.repeat(20, 1)[None], torch.tensor([1]))
    found = trained.quantiser.decode(trained.quantiser.encode(target[None], 1))[0]
    assert (found - target).abs().mean() < 0.005


def test_dead_codes_come_back(trained: TrainedQuantiser) -> None:
    trained.quantiser.codebooks[0, 3:] = 100.0  # nothing is near
    latents = torch.randn(4, 50, 8)
    for step in range(80):
        trained(latents, torch.tensor([1, 1, 1, 1]), revive=step % 10 == 9)
    used = trained.quantiser.encode(latents, 1).unique()
    assert len(used) == 16
    assert (trained.counts[0] > trained.dead_below).all()


def test_evaluation_moves_nothing(trained: TrainedQuantiser) -> None:
    before = trained.quantiser.codebooks.clone()
    trained.eval()(torch.randn(2, 6, 8), torch.tensor([4, 4]))
    assert torch.equal(before, trained.quantiser.codebooks)
