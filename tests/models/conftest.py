"""One codec after the other, small and with random weights."""

import pytest
import torch
from tiny_models import fit_codebooks

from ncodec.models.registry import architecture, names
from ncodec.models.torch_codec import TorchCodec

# The smallest preset of each kind of network that an architecture has.
SMALLEST = {
    "spectral": ("spectral-tiny", "spectral-tiny-stereo"),
    "soundstream": ("soundstream-tiny",),
    "encodec": ("encodec-tiny", "encodec-tiny-stereo", "encodec-tiny-ahead"),
    "hilcodec": ("hilcodec-tiny",),
    "snac": ("snac-tiny", "snac-tiny-windows"),
    "dac": ("dac-tiny",),
    "mimi": ("mimi-tiny",),
}
PRESETS = [(name, preset) for name in sorted(names()) for preset in SMALLEST[name]]


@pytest.fixture(params=PRESETS, ids=[preset for _, preset in PRESETS])
def codec(request: pytest.FixtureRequest) -> TorchCodec:
    """A codec with random weights everywhere, so that no path is silent."""
    torch.manual_seed(7)
    name, preset = request.param
    kind = architecture(name)
    made = kind(kind.presets[preset])
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    fit_codebooks(made)
    return made.eval()
