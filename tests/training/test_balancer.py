import pytest
import torch

from ncodec.training.balancer import Balancer, mean_norm
from ncodec.training.parallel import Workers

pytestmark = pytest.mark.quick

FIRST = torch.tensor([[3.0, 4.0], [0.0, 0.0]])  # norms 5 and 0: 2.5 in the mean
SECOND = torch.tensor([[0.0, 1.0], [-1.0, 0.0]])  # norms 1 and 1
WEIGHTS = {"first": 1.0, "second": 3.0}


@pytest.fixture
def balancer() -> Balancer:
    return Balancer(0.5, Workers(torch.device("cpu")))


def test_by_hand(balancer: Balancer) -> None:
    (combined,) = balancer.combine({"first": [FIRST], "second": [SECOND]}, WEIGHTS)
    torch.testing.assert_close(combined, 0.25 * FIRST / 2.5 + 0.75 * SECOND)
    # The next gradient is twice as large: its usual norm is (0.5 * 2.5 + 5) / (0.5 + 1).
    (combined,) = balancer.combine({"first": [2 * FIRST], "second": [SECOND]}, WEIGHTS)
    torch.testing.assert_close(combined, 0.25 * 2 * FIRST / (6.25 / 1.5) + 0.75 * SECOND)


def test_the_scale_of_a_loss_does_not_matter(balancer: Balancer) -> None:
    other = Balancer(0.5, balancer.workers)
    for factor in (1.0, 3.0, 0.2):
        first, second = [factor * FIRST], [SECOND]
        one = balancer.combine({"first": first, "second": second}, WEIGHTS)
        large = [1000 * part for part in first]
        same = other.combine({"first": large, "second": second}, WEIGHTS)
        torch.testing.assert_close(one, same)


def test_a_norm_is_of_all_outputs_together(balancer: Balancer) -> None:
    parts = [torch.tensor([[3.0], [6.0]]), torch.tensor([[4.0], [8.0]])]
    assert float(mean_norm(parts)) == 7.5
    combined = balancer.combine({"first": parts}, WEIGHTS)
    torch.testing.assert_close(combined, [part / 7.5 for part in parts])


def test_a_loss_that_joins_later_counts_at_once(balancer: Balancer) -> None:
    for _ in range(5):
        (alone,) = balancer.combine({"first": [FIRST]}, WEIGHTS)
        torch.testing.assert_close(alone, FIRST / 2.5)
    (both,) = balancer.combine({"first": [FIRST], "second": [SECOND]}, WEIGHTS)
    torch.testing.assert_close(both, 0.25 * FIRST / 2.5 + 0.75 * SECOND)


def test_silence_divides_by_nothing(balancer: Balancer) -> None:
    nothing = torch.zeros(2, 2)
    (combined,) = balancer.combine({"first": [nothing]}, WEIGHTS)
    assert torch.equal(combined, nothing)


def test_goes_on_from_its_state(balancer: Balancer) -> None:
    balancer.combine({"first": [FIRST]}, WEIGHTS)
    other = Balancer(0.5, balancer.workers)
    other.load(balancer.state())
    for one in (balancer, other):
        (combined,) = one.combine({"first": [2 * FIRST]}, WEIGHTS)
        torch.testing.assert_close(combined, 2 * FIRST / (6.25 / 1.5))
