import contextlib
import csv
import dataclasses
import math
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ncodec.errors import ModelMissing, UsageError
from ncodec.hub.codecs import CODECS, load_torch_codec
from ncodec.training.config import AdversaryConfig, TrainConfig
from ncodec.training.data import Batch
from ncodec.training.folder import load_checkpoint, log, save_checkpoint
from ncodec.training.loop import Run, train
from ncodec.training.losses import reconstruction
from ncodec.training.schedule import rate_factor


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "log.csv").open() as stream:
        return list(csv.DictReader(stream))


@torch.no_grad()
def distance(run: Run) -> float:
    """Return the sum of the losses on one batch of tones, coded with all codebooks."""
    torch.manual_seed(0)
    time_s = torch.arange(4000) / 8000
    wav = 0.14 * torch.sin(2 * torch.pi * torch.tensor([[200.0], [350], [500]]) * time_s)
    every = torch.full((len(wav),), 4)
    wavs = run.model.reconstruct(wav[:, None], lambda z: run.quantiser.eval()(z, every).latents)
    plain, whole = wavs[0][:, 0], wavs[1][:, 0]
    return sum(map(float, reconstruction(wav, plain, whole, 8000, random.Random(0)).values()))


@pytest.mark.quick
def test_twenty_steps_lower_the_loss_and_ship_a_model(config: TrainConfig, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert train(config, folder, resume=False, time_limit_s=300, device="cpu")
    logged = rows(folder)
    assert [int(row["step"]) for row in logged] == [5, 10, 15, 20]
    assert all(math.isfinite(float(value)) for row in logged for value in row.values())
    trained, fitted = Run(config, folder), Run(config, tmp_path / "fitted")
    trained.load()
    train(config, fitted.folder, resume=False, time_limit_s=0, device="cpu")  # k-means alone
    fitted.load()
    assert distance(trained) < distance(fitted)
    model = CODECS.describe(folder / "tiny.safetensors")
    assert (model.model_id, model.architecture) == ("tiny", "spectral")
    assert model.facts["steps"] == 20
    codec = load_torch_codec(model)
    assert codec.encode(torch.randn(1, 1, 800), 4).codes.shape == (1, 4, 11)


def test_the_betas_are_those_of_the_configuration(config: TrainConfig, tmp_path: Path) -> None:
    optimiser = dataclasses.replace(config.optimiser, betas=(0.5, 0.9))
    for settings, betas in (
        (config, (0.9, 0.99)),
        (dataclasses.replace(config, optimiser=optimiser), (0.5, 0.9)),
    ):
        assert [g["betas"] for g in Run(settings, tmp_path).optimiser.param_groups] == [betas] * 2


def test_a_codec_that_denoises_learns_too(denoising: TrainConfig, tmp_path: Path) -> None:
    assert train(denoising, tmp_path / "run", resume=False, time_limit_s=300, device="cpu")
    trained, fitted = Run(denoising, tmp_path / "run"), Run(denoising, tmp_path / "fitted")
    trained.load()
    train(denoising, fitted.folder, resume=False, time_limit_s=0, device="cpu")
    fitted.load()
    assert distance(trained) < distance(fitted)
    (gain, shift) = trained.model.get_parameter("encoder_film.weight").chunk(2, -1)
    assert gain.any(1).all()
    assert shift.any(1).all()
    codec = load_torch_codec(CODECS.describe(tmp_path / "run/tiny.safetensors"))
    assert codec.can_denoise


def test_noise_and_the_codec_must_fit(
    config: TrainConfig, denoising: TrainConfig, tmp_path: Path
) -> None:
    for settings, other, message in (
        (config, denoising, "'spectral-tiny' cannot use"),
        (denoising, config, "'soundstream-tiny' needs"),
    ):
        wrong = dataclasses.replace(settings, data=other.data)
        with pytest.raises(UsageError, match=f"{message} \\[data\\] noise"):
            train(wrong, tmp_path / "run", resume=False, time_limit_s=0, device="cpu")


@pytest.mark.parametrize("name", ["dac", "snac"])
def test_what_is_only_imported(config: TrainConfig, name: str, tmp_path: Path) -> None:
    theirs = dataclasses.replace(config, architecture=name, preset=f"{name}-tiny")
    with pytest.raises(UsageError, match=f"architecture '{name}': models are imported, none are"):
        train(theirs, tmp_path / "run", resume=False, time_limit_s=0, device="cpu")


@pytest.mark.parametrize("preset", ["encodec-tiny-stereo", "encodec_48khz"])
def test_training_is_for_codecs_of_one_channel(
    config: TrainConfig, preset: str, tmp_path: Path
) -> None:
    stereo = dataclasses.replace(config, architecture="encodec", preset=preset)
    with pytest.raises(UsageError, match=f"preset '{preset}' has 2 channels: training is for"):
        train(stereo, tmp_path / "run", resume=False, time_limit_s=0, device="cpu")


def test_stereo_is_trained_and_resumed(config: TrainConfig, tmp_path: Path) -> None:
    """Mono sources too, as two channels that are alike."""
    stereo = dataclasses.replace(config, preset="spectral-tiny-stereo", validate_every=10)
    assert not train(stereo, tmp_path / "run", resume=False, time_limit_s=0, device="cpu")
    assert train(stereo, tmp_path / "run", resume=True, time_limit_s=300, device="cpu")
    codec = load_torch_codec(CODECS.describe(tmp_path / "run/tiny.safetensors"))
    assert codec.encode(torch.randn(1, 2, 800), 4).scales.shape == (1, 2)
    with (tmp_path / "run/validation.csv").open() as stream:
        figures = list(csv.DictReader(stream))
    assert all(math.isfinite(float(row["mel_1.6"])) for row in figures)
    with pytest.raises(UsageError, match="packed.npy: 2 channels, preset 'spectral-tiny' has 1"):
        train(config, tmp_path / "other", resume=False, time_limit_s=0, device="cpu")


@pytest.fixture
def adversarial(config: TrainConfig) -> TrainConfig:
    """A run with all that changes from step to step."""
    kinds = (("msstft", 1.0), ("wave", 1.0))
    adversary = AdversaryConfig(kinds, "tiny", probability=0.6, starts=1, joins=4, seconds=0.3)
    loss = dataclasses.replace(config.loss, balanced=True, balance_decay=0.9)
    return dataclasses.replace(config, adversary=adversary, loss=loss)


@pytest.mark.parametrize("name", ["config", "denoising", "adversarial"])
def test_resumes_exactly(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Killed and resumed from its last checkpoint gives the weights of a run never stopped."""
    config = dataclasses.replace(request.getfixturevalue(name), save_every=5)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(config, whole, resume=False, time_limit_s=300, device="cpu")
    for stop in (7, 20):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Run, "_train_step", killed_at(stop))
            with contextlib.suppress(KeyboardInterrupt):
                train(config, parts, resume=True, time_limit_s=300, device="cpu")
    first, second = (torch.load(f / "checkpoint.pt", weights_only=True) for f in (whole, parts))
    for name, tensor in first["model"].items():
        assert torch.equal(tensor, second["model"][name]), name
    assert first["step"] == second["step"] == 20
    assert first["objective"].keys() == second["objective"].keys()
    if "adversary" in first["objective"]:
        other = second["objective"]["adversary"]["networks"]
        for name, tensor in first["objective"]["adversary"]["networks"].items():
            assert torch.equal(tensor, other[name]), name
        assert first["objective"]["balancer"] == second["objective"]["balancer"]


def test_without_an_adversary_there_is_nothing_of_it(config: TrainConfig, tmp_path: Path) -> None:
    """Checkpoints from before there were adversaries are taken up too."""
    run = Run(config, tmp_path)
    assert run.state()["objective"] == {}
    save_checkpoint(tmp_path, {k: v for k, v in run.state().items() if k != "objective"})
    run.load()


def test_starts_from_a_model_file(config: TrainConfig, tmp_path: Path) -> None:
    first = tmp_path / "first"
    train(config, first, resume=False, time_limit_s=300, device="cpu")
    source = first / "tiny.safetensors"
    start = dataclasses.replace(config, start_from=str(source), model_id="tuned")
    train(start, tmp_path / "second", resume=False, time_limit_s=0, device="cpu")
    model = CODECS.describe(tmp_path / "second/tuned.safetensors")
    assert model.facts["start_from"] == "tiny"
    given, kept = (load_torch_codec(each).state_dict() for each in (CODECS.describe(source), model))
    for name, tensor in given.items():
        assert torch.equal(tensor, kept[name]), name
    state = load_checkpoint(tmp_path / "second")
    assert torch.equal(state["quantiser"]["counts"], torch.ones(4, 16))
    assert torch.equal(state["quantiser"]["sums"], given["quantiser.codebooks"])
    source.unlink()  # what is resumed no longer needs it
    assert train(start, tmp_path / "second", resume=True, time_limit_s=300, device="cpu")
    run = Run(start, tmp_path / "second")
    run.load()
    assert run.step == 20
    assert not torch.equal(run.model.quantiser.codebooks, given["quantiser.codebooks"])


def test_starts_from_a_models_id_and_refuses_what_does_not_fit(
    config: TrainConfig, tmp_path: Path
) -> None:
    for name, error, message in (
        (
            "spectral",
            UsageError,
            "'spectral': weights of spectral that do not fit preset 'spectral-",
        ),
        ("nothing", ModelMissing, "'nothing': not installed"),
    ):
        start = dataclasses.replace(config, start_from=name)
        with pytest.raises(error, match=message):
            train(start, tmp_path, resume=False, time_limit_s=0, device="cpu")
    run = Run(dataclasses.replace(config, preset="spectral"), tmp_path)
    run.start_from("spectral")
    assert torch.equal(run.quantiser.sums, run.average.quantiser.codebooks)


def test_a_new_name_makes_a_new_column(tmp_path: Path) -> None:
    log(tmp_path, {"step": 1, "mel": 0.5})
    log(tmp_path, {"step": 2, "mel": 0.4, "wave_hinge": 2.0})
    log(tmp_path, {"step": 3, "mel": 0.3})
    assert (tmp_path / "log.csv").read_text().split() == [
        "step,mel,wave_hinge", "1,0.5,", "2,0.4,2.0", "3,0.3,",
    ]  # fmt: skip


def killed_at(step: int) -> Callable[[Run, Batch], dict[str, torch.Tensor]]:
    """Return a training step that ends the process, as it were, before step number `step`."""
    original = Run._train_step

    def counted(run: Run, batch: Batch) -> dict[str, torch.Tensor]:
        if run.step >= step:
            torch.manual_seed(99)  # the next process starts with another random state
            raise KeyboardInterrupt
        return original(run, batch)

    return counted


def test_stops_at_the_time_limit_with_a_checkpoint(config: TrainConfig, tmp_path: Path) -> None:
    assert not train(config, tmp_path / "run", resume=False, time_limit_s=0, device="cpu")
    assert (tmp_path / "run/checkpoint.pt").exists()


def test_stops_and_saves_when_it_is_told_to(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, before = Run._train_step, signal.getsignal(signal.SIGTERM)

    def told(run: Run, batch: Batch) -> dict[str, torch.Tensor]:
        if run.step == 6:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(run, batch)

    monkeypatch.setattr(Run, "_train_step", told)
    assert not train(config, tmp_path / "run", resume=False, time_limit_s=300, device="cpu")
    assert load_checkpoint(tmp_path / "run")["step"] == 7
    assert signal.getsignal(signal.SIGTERM) == before


def test_the_log_tells_how_much_audio_went_through(config: TrainConfig, tmp_path: Path) -> None:
    train(config, tmp_path / "run", resume=False, time_limit_s=300, device="cpu")
    assert all(float(row["audio_s_per_s"]) > 0 for row in rows(tmp_path / "run"))


@pytest.mark.slow
def test_a_compiled_codec_learns_the_same(config: TrainConfig, tmp_path: Path) -> None:
    short = dataclasses.replace(config.optimiser, steps=5)
    losses = []
    for compiled in (False, True):
        settings = dataclasses.replace(
            config, compile=compiled, bfloat16=False, optimiser=short, log_every=5
        )
        train(settings, tmp_path / str(compiled), resume=False, time_limit_s=600, device="cpu")
        losses.append(float(rows(tmp_path / str(compiled))[-1]["mel"]))
    assert losses[1] == pytest.approx(losses[0], rel=1e-2)


def test_rate_warms_up_and_falls_to_a_tenth() -> None:
    assert rate_factor(0, 10, 100) == pytest.approx(0.1)
    assert rate_factor(9, 10, 100) == 1.0
    assert rate_factor(100, 10, 100) == pytest.approx(0.1)
    factors = [rate_factor(step, 10, 100) for step in range(10, 101)]
    assert factors == sorted(factors, reverse=True)
