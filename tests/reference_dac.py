"""transformers' DAC with random weights, none of them at rest, in its layout and the authors'."""

import re
from typing import Any

import torch
from torch import Tensor

SIZES: dict[str, dict[str, Any]] = {
    "dac_16khz": {"sampling_rate": 16000, "n_codebooks": 12, "downsampling_ratios": [2, 4, 5, 8]},
    "dac_24khz": {"sampling_rate": 24000, "n_codebooks": 32, "downsampling_ratios": [2, 4, 5, 8]},
    "dac_44khz": {"sampling_rate": 44100, "n_codebooks": 9, "downsampling_ratios": [2, 4, 8, 8]},
    "small": {
        "sampling_rate": 8000, "n_codebooks": 5, "downsampling_ratios": [3, 4, 5],
        "codebook_size": 64, "codebook_dim": 6, "encoder_hidden_size": 6, "decoder_hidden_size": 40,
    },
}  # fmt: skip


def reference(name: str) -> Any:
    """Return a model of some sizes; its audio stays within [-1, 1] without being cut off there."""
    from transformers import DacConfig, DacModel

    model = DacModel(DacConfig(**SIZES[name]))
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            drawn = torch.randn(parameter.shape, generator=generator)
            if key.endswith("alpha"):
                parameter.copy_(0.5 + drawn.abs())
            elif key.endswith("bias"):
                parameter.copy_((0.01 if key.startswith("quantizer") else 0.05) * drawn)
            elif key.endswith("codebook.weight"):
                parameter.copy_(0.1 * drawn)  # what they stand for is then as large as latents
            else:
                n_in = 2 * len(parameter) if "conv_t1" in key else parameter[0].numel()
                level = 0.2 if "res_unit" in key or "decoder.conv2" in key else 0.7
                parameter.copy_(level * n_in**-0.5 * drawn)
    return model.eval()


def noise(name: str, seconds: float, batch: int = 1) -> Tensor:
    """Return noise [B, 1, T] at the model's rate, with more low frequencies than high ones."""
    generator = torch.Generator().manual_seed(3)
    n_samples = round(seconds * SIZES[name]["sampling_rate"])
    slow = torch.randn(batch, 1, n_samples, generator=generator).cumsum(-1)
    wav = slow - torch.nn.functional.avg_pool1d(slow, 101, 1, 50)
    return 0.1 * wav / wav.square().mean().sqrt().clamp_min(1e-3)


def authors_file(model: Any) -> dict[str, Any]:
    """Return what the authors' code would save of a model: weight norm, and its arguments."""
    config = model.config
    n_strides = len(config.downsampling_ratios)
    state: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        theirs = _authors_name(name, n_strides)
        if name.endswith("weight") and "codebook" not in name:
            norm = tensor.flatten(1).norm(dim=1).view(-1, 1, 1)
            state[theirs.replace("weight", "weight_g")] = norm
            state[theirs.replace("weight", "weight_v")] = tensor * (1.5 / norm)
        else:
            state[theirs] = tensor.clone()
    arguments = {
        "encoder_dim": config.encoder_hidden_size,
        "encoder_rates": list(config.downsampling_ratios),
        "latent_dim": None,
        "decoder_dim": config.decoder_hidden_size,
        "decoder_rates": list(config.upsampling_ratios),
        "n_codebooks": config.n_codebooks,
        "codebook_size": config.codebook_size,
        "codebook_dim": config.codebook_dim,
        "quantizer_dropout": 0.5,
        "sample_rate": config.sampling_rate,
    }
    return {"state_dict": state, "metadata": {"kwargs": arguments}}


def _authors_name(name: str, n_strides: int) -> str:
    if name.startswith("quantizer"):
        return name
    side, rest = name.split(".", 1)
    stack = "encoder.block" if side == "encoder" else "decoder.model"
    ends = {"conv1": 0, "snake1": n_strides + 1, "conv2": n_strides + 2}
    if rest.split(".")[0] in ends:
        part, what = rest.split(".")
        return f"{stack}.{ends[part]}.{what}"
    _, number, part, what = rest.split(".", 3)
    order = ["res_unit1", "res_unit2", "res_unit3", "snake1", "conv1"]
    if side == "decoder":
        order = ["snake1", "conv_t1", "res_unit1", "res_unit2", "res_unit3"]
    inside = ("snake1", "conv1", "snake2", "conv2")
    what = re.sub(r"^(\w+)\.", lambda found: f"block.{inside.index(found[1])}.", what)
    return f"{stack}.{int(number) + 1}.block.{order.index(part)}.{what}"
