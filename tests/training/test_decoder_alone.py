"""Runs whose encoder and codebooks stay as they are: `encoder_rate = 0`."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import ncodec
from ncodec.errors import UsageError
from ncodec.hub import entropy_models
from ncodec.hub.codecs import CODECS, find, load_torch_codec
from ncodec.hub.entropy_models import ENTROPY_MODELS, EntropyModelFile
from ncodec.models.torch_codec import TorchCodec
from ncodec.nn.rvq import ResidualVectorQuantiser
from ncodec.training.config import TrainConfig
from ncodec.training.loop import Run, train
from ncodec.training.parallel import Workers
from ncodec.training.quantiser import FixedQuantiser


def alone(config: TrainConfig, start_from: str) -> TrainConfig:
    """Return a short run of the decoder, in which weights that are trained at all would shrink."""
    optimiser = replace(config.optimiser, encoder_rate=0.0, weight_decay=0.1, steps=8)
    return replace(config, optimiser=optimiser, start_from=start_from, model_id="tuned")


def stays(name: str) -> bool:
    return name.startswith("encoder") or name == "quantiser.codebooks"


def codes(codec: TorchCodec) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return codec.encode(0.1 * torch.randn(1, 1, 8000, generator=generator), 4).codes


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("architecture", ["spectral", "hilcodec", "soundstream"])
def test_the_decoder_learns_and_all_else_stays(
    config: TrainConfig, denoising: TrainConfig, architecture: str, balanced: bool, tmp_path: Path
) -> None:
    config = denoising if architecture == "soundstream" else config
    config = replace(
        config, architecture=architecture, preset=f"{architecture}-tiny",
        loss=replace(config.loss, balanced=balanced),
    )  # fmt: skip
    source, folder = tmp_path / "first" / "tiny.safetensors", tmp_path / "second"
    train(config, source.parent, resume=False, time_limit_s=0, device="cpu")  # k-means alone
    settings = alone(config, str(source))
    assert train(settings, folder, resume=False, time_limit_s=300, device="cpu")
    before, run = load_torch_codec(CODECS.describe(source)), Run(settings, folder)
    run.load()
    assert run.step == 8
    after = load_torch_codec(CODECS.describe(folder / "tuned.safetensors"))
    given = before.state_dict()
    for made in (run.model, run.average, after):
        for name, tensor in made.state_dict().items():
            assert not stays(name) or torch.equal(tensor, given[name]), name
    decoder = {name: p for name, p in run.model.named_parameters() if not stays(name)}
    assert decoder
    for name, parameter in decoder.items():
        assert not torch.equal(parameter, given[name]), name
    assert torch.equal(codes(after), codes(before))
    chunk = before.encode(0.1 * torch.randn(1, 1, 8000), 4)
    assert not torch.equal(after.decode(chunk, 8000), before.decode(chunk, 8000))


def test_there_must_be_an_encoder_to_keep(config: TrainConfig, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"encoder_rate = 0 leaves the encoder .* start_from"):
        train(alone(config, ""), tmp_path / "run", resume=False, time_limit_s=0, device="cpu")
    assert not list((tmp_path / "run").iterdir())


def tensors(model: EntropyModelFile) -> dict[str, torch.Tensor]:
    return load_file(model.path)


def assert_goes_with(codec: Path, before: EntropyModelFile) -> None:
    """Check that beside a codec's file there is the entropy model `before`, for its new weights."""
    made, made_for = (
        ENTROPY_MODELS.describe(codec.parent / "entropy" / codec.name),
        CODECS.describe(codec),
    )
    assert (made.model_id, made.codec_id) == (made_for.model_id, made_for.model_id)
    assert made.codec_fingerprint == made_for.fingerprint != before.codec_fingerprint
    supersedes = {"stands_for": [before.fingerprint.hex()]}
    assert (made.config, made.facts) == (before.config, {**before.facts, **supersedes})
    given, kept = tensors(before), tensors(made)
    assert given.keys() == kept.keys()
    for name, tensor in given.items():
        assert torch.equal(tensor, kept[name]), name


def test_the_entropy_model_goes_with_the_codes(
    config: TrainConfig, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All through the run, which needs neither model any more once it has begun."""
    monkeypatch.setenv("NCODEC_CACHE", str(cache))
    settings, tuned = alone(config, "modelled"), tmp_path / "run" / "tuned.safetensors"
    before = ENTROPY_MODELS.describe(cache / "models" / "entropy" / "modelled.safetensors")
    assert not train(settings, tuned.parent, resume=False, time_limit_s=0, device="cpu")
    assert_goes_with(tuned, before)
    first = CODECS.describe(tuned).fingerprint
    monkeypatch.setenv("NCODEC_CACHE", str(tmp_path / "empty"))
    settings = replace(settings, save_every=3)
    assert train(settings, tuned.parent, resume=True, time_limit_s=300, device="cpu")
    assert CODECS.describe(tuned).fingerprint != first
    assert_goes_with(tuned, before)
    models = tmp_path / "mine" / "models"  # as docs/TRAINING.md says
    shutil.copytree(tuned.parent / "entropy", models / "entropy")
    shutil.copy(tuned, models)
    monkeypatch.setenv("NCODEC_CACHE", str(models.parent))
    chosen = entropy_models.choose_entropy(find("tuned"), None, 4)
    assert chosen.model is not None
    assert chosen.model.path == models / "entropy" / tuned.name


def test_old_files_decode_with_the_new_weights(
    config: TrainConfig, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NCODEC_CACHE", str(cache))
    wav = 0.1 * np.random.default_rng(0).standard_normal((1, 8000)).astype(np.float32)
    blob = ncodec.encode(wav, 8000, model="modelled", entropy="transformer")
    settings = replace(alone(config, "modelled"), model_id="modelled")
    train(settings, tmp_path, resume=False, time_limit_s=300, device="cpu")
    models = tmp_path / "mine" / "models"
    shutil.copytree(tmp_path / "entropy", models / "entropy")
    shutil.copy(tmp_path / "modelled.safetensors", models)
    before, _ = ncodec.decode(blob)
    monkeypatch.setenv("NCODEC_CACHE", str(models.parent))
    after, _ = ncodec.decode(blob)
    assert after.shape == before.shape
    assert not np.array_equal(after, before)
    again = CODECS.describe(models / "modelled.safetensors").compatible()
    assert again[1:] == CODECS.describe(cache / "models" / "modelled.safetensors").compatible()


def test_weights_that_stand_for_none_do_not(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NCODEC_CACHE", str(cache))
    facts: dict[str, Any] = {"stands_for": ["no hexadecimal number", 3]}
    model = replace(CODECS.describe(cache / "models" / "tiny.safetensors"), facts=facts)
    assert model.supersedes == frozenset()


def test_where_there_is_no_entropy_model_none_is_written(
    config: TrainConfig, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NCODEC_CACHE", str(cache))
    moving = replace(config, start_from="modelled")  # the codes come to mean something else
    for folder, settings in (("alone", alone(config, "tiny")), ("moving", moving)):
        run = tmp_path / folder
        left = run / "entropy" / f"{settings.model_id}.safetensors"
        if folder == "alone":  # of another run, that was killed before it had a checkpoint
            shutil.copytree(cache / "models" / "entropy", left.parent)
            (left.parent / "modelled.safetensors").rename(left)
        train(settings, run, resume=False, time_limit_s=0, device="cpu")
        assert not left.exists()


def test_rebinding_leaves_what_was_bound_before(cache: Path, tmp_path: Path) -> None:
    path = cache / "models" / "entropy" / "modelled.safetensors"
    content, codec = path.read_bytes(), CODECS.describe(cache / "models" / "tiny.safetensors")
    made = tmp_path / "deeper" / "other.safetensors"
    entropy_models.rebind(ENTROPY_MODELS.describe(path), codec, made)
    assert path.read_bytes() == content
    found = ENTROPY_MODELS.describe(made)
    assert (found.codec_id, found.codec_fingerprint) == ("tiny", codec.fingerprint)
    entropy_models.load_network(found)


@pytest.fixture
def fixed() -> FixedQuantiser:
    torch.manual_seed(0)
    return FixedQuantiser(ResidualVectorQuantiser(4, 16, 8), beam_width=4)


def test_its_latents_are_those_of_the_codes_of_files(fixed: FixedQuantiser) -> None:
    latents, n_q = torch.randn(4, 7, 8), torch.tensor([1, 4, 2, 4])
    result = fixed(latents, n_q)
    for row, count in enumerate(n_q.tolist()):
        found = fixed.quantiser.encode(latents[row : row + 1], count, 4)
        torch.testing.assert_close(result.latents[row : row + 1], fixed.quantiser.decode(found))
    left = (latents - result.latents).square().sum() / latents.square().sum()
    torch.testing.assert_close(result.relative_error, left)
    torch.testing.assert_close(result.commitment, left)


def test_bfloat16_around_it_changes_nothing(fixed: FixedQuantiser) -> None:
    latents, n_q = torch.randn(4, 50, 8), torch.tensor([1, 4, 2, 4])
    expected = fixed(latents, n_q).latents
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(fixed(latents, n_q).latents, expected)


def test_it_moves_nothing_and_has_no_gradient(fixed: FixedQuantiser) -> None:
    before = fixed.quantiser.codebooks.clone()
    latents = torch.randn(3, 50, 8, dtype=torch.bfloat16, requires_grad=True)
    result = fixed.train()(latents, torch.tensor([4, 4, 1]), revive=True)
    assert not result.latents.requires_grad
    assert not result.commitment.requires_grad
    assert result.latents.dtype == torch.float32
    fixed.restart()
    fixed.synchronise(Workers(torch.device("cpu")), revived=True)
    assert torch.equal(fixed.quantiser.codebooks, before)
