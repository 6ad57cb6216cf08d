"""Small seeded codecs of every registered architecture."""

import pytest
import torch

from ncodec.models.base import Codec
from ncodec.registry import architecture, names

SMALLEST = {"spectral": "spectral-tiny"}


@pytest.fixture(params=sorted(names()))
def codec(request: pytest.FixtureRequest) -> Codec:
    """A codec with random weights everywhere, so that no path is silent."""
    torch.manual_seed(7)
    kind = architecture(request.param)
    made = kind(kind.presets[SMALLEST[request.param]])
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return made.eval()
