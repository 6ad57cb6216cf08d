import csv
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import ncodec
from ncodec import audio
from ncodec.hub.codecs import find, load_torch_codec
from ncodec.training.config import TrainConfig
from ncodec.training.data import Batch, PackedClip, PackedCorpus
from ncodec.training.folder import load_checkpoint, log_validation, validated_step
from ncodec.training.loop import Run, train
from ncodec.training.validation import Validation, at_bandwidths, choose

KBPS = ("0.4", "0.8", "1.6")  # of the tiny presets
FIGURES = [f"{name}_{kbps}" for kbps in KBPS for name in ("mel", "si_sdr")]


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "validation.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def run_of(config: TrainConfig, folder: Path, **changes: Any) -> Path:
    changed = dataclasses.replace(config, **changes)
    assert train(changed, folder, resume=True, time_limit_s=300, device="cpu")
    return folder


def model_of(folder: Path) -> dict[str, dict[str, Tensor]]:
    state = load_checkpoint(folder)
    return {part: state[part] for part in ("model", "average", "quantiser")}


@pytest.fixture
def short(config: TrainConfig) -> TrainConfig:
    """A run of ten steps, validated after each four."""
    optimiser = dataclasses.replace(config.optimiser, steps=10)
    return dataclasses.replace(config, optimiser=optimiser, validate_every=4)


def test_a_row_every_so_many_steps_and_at_the_end(short: TrainConfig, tmp_path: Path) -> None:
    found = rows(run_of(short, tmp_path / "run"))
    assert [int(row["step"]) for row in found] == [4, 8, 10]
    assert list(found[0]) == ["step", "seconds", *FIGURES]
    assert all(np.isfinite(float(row[name])) for row in found for name in FIGURES)
    assert len({row["mel_1.6"] for row in found}) == 3
    assert (tmp_path / "run/log.csv").read_text().startswith("step,seconds,stft")


def test_what_can_be_heard(short: TrainConfig, tmp_path: Path) -> None:
    folder = run_of(short, tmp_path / "run") / "samples"
    assert sorted(path.name for path in folder.iterdir()) == ["1-held-0", "2-held-1", "3-held-2"]
    names = {f"{step}_{kbps}kbps.flac" for step in (4, 8, 10) for kbps in KBPS}
    for number, clip in enumerate(sorted(folder.iterdir())):
        assert {path.name for path in clip.iterdir()} == {*names, "original.flac"}
        original, rate = audio.read(clip / "original.flac")
        assert (rate, original.shape) == (8000, (1, 16000))
        tone = 0.3 * np.sin(2 * np.pi * (200 + 150 * number) * np.arange(16000) / 8000)
        assert np.abs(original[0] - tone).max() < 1e-3
        for name in names:
            made, rate = audio.read(clip / name)
            assert (rate, made.shape) == (8000, (1, 16000))
            assert made.any()


@pytest.mark.parametrize(
    ("architecture", "preset"),
    [
        ("spectral", "spectral-tiny"),
        ("soundstream", "soundstream-tiny"),
        ("encodec", "encodec-tiny"),
        ("hilcodec", "hilcodec-tiny"),
    ],
)
def test_leaves_the_run_as_it_would_be(
    short: TrainConfig, denoising: TrainConfig, architecture: str, preset: str, tmp_path: Path
) -> None:
    data = denoising.data if architecture == "soundstream" else short.data
    config = dataclasses.replace(short, architecture=architecture, preset=preset, data=data)
    without = model_of(run_of(config, tmp_path / "without", validate_every=0))
    assert not (tmp_path / "without/validation.csv").exists()
    assert not (tmp_path / "without/samples").exists()
    found = model_of(run_of(config, tmp_path / "with"))
    assert len(rows(tmp_path / "with")) == 3
    for part, tensors in without.items():
        for name, tensor in tensors.items():
            assert torch.equal(tensor, found[part][name]), f"{part} {name}"


def test_a_run_that_is_taken_up_again_has_every_row_once(
    short: TrainConfig, tmp_path: Path
) -> None:
    """Killed before step 10, it goes on from its checkpoint of step 5."""
    config = dataclasses.replace(short, save_every=5)
    whole = run_of(config, tmp_path / "whole")
    parts = tmp_path / "parts"
    step = Run._train_step

    def killed(run: Run, batch: Batch) -> dict[str, Tensor]:
        if run.step == 9:
            raise KeyboardInterrupt
        return step(run, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "_train_step", killed)
        with pytest.raises(KeyboardInterrupt):
            run_of(config, parts)
    assert [row["step"] for row in rows(parts)] == ["4", "8"]
    for _ in range(2):  # the second time there is nothing left to do
        run_of(config, parts)
        assert [{**row, "seconds": ""} for row in rows(parts)] == [
            {**row, "seconds": ""} for row in rows(whole)
        ]


def test_steps_taken_again_replace_their_rows(tmp_path: Path) -> None:
    assert validated_step(tmp_path) is None
    for step in (4, 8, 12):
        log_validation(tmp_path, {"step": step, "mel_1": 0.5})
    log_validation(tmp_path, {"step": 8, "mel_1": 0.25, "mel_2": 0.125})
    assert (tmp_path / "validation.csv").read_text().split() == [
        "step,mel_1,mel_2", "4,0.5,", "8,0.25,0.125",
    ]  # fmt: skip
    assert validated_step(tmp_path) == 8


@pytest.mark.parametrize("patterns", [(), ("nothing/*",)])
def test_without_validation_clips_there_is_nothing(
    short: TrainConfig, patterns: tuple[str, ...], tmp_path: Path
) -> None:
    data = dataclasses.replace(short.data, validation=patterns)
    folder = run_of(short, tmp_path / "run", data=data)
    assert sorted(path.name for path in folder.iterdir()) == [
        "checkpoint.pt", "log.csv", "tiny.safetensors",
    ]  # fmt: skip


def test_stopped_at_once_it_is_validated(config: TrainConfig, tmp_path: Path) -> None:
    assert not train(config, tmp_path / "run", resume=False, time_limit_s=0, device="cpu")
    assert [row["step"] for row in rows(tmp_path / "run")] == ["0"]


def test_clips_are_spread_over_the_kinds() -> None:
    clips = [
        PackedClip(f"{kind}/{k:02}.wav", 1000 * k, 100 + k) for k in range(20) for kind in "cab"
    ]
    chosen = choose([*clips, PackedClip("a/empty.wav", 0, 0)], 6, 100)
    assert [clip.path for clip in chosen] == [
        "a/05.wav", "a/15.wav", "b/05.wav", "b/15.wav", "c/05.wav", "c/15.wav",
    ]  # fmt: skip
    assert chosen[0] == PackedClip("a/05.wav", 5002, 100)  # its middle
    assert len(choose(clips, 100, 100)) == 60


def test_codes_as_a_file_is_coded() -> None:
    codec = load_torch_codec(find("spectral"))
    t = np.arange(30000) / 24000
    wav = (0.2 * np.sin(2 * np.pi * 300 * t * (1 + t)))[None].astype(np.float32)
    found = dict(at_bandwidths(codec, torch.from_numpy(wav)))
    assert list(found) == [1.5, 3, 6, 12]
    for kbps, made in found.items():
        coded = ncodec.encode(wav, 24000, bandwidth_kbps=kbps, effort="fast")
        decoded, _ = ncodec.decode(coded)
        assert made.shape == decoded.shape
        assert np.abs(made - decoded).max() < 1e-4


def test_codecs_of_two_channels_hear_the_clip_in_both() -> None:
    from ncodec.models.encodec import PRESETS, Encodec

    codec = Encodec(PRESETS["encodec-tiny-stereo"])
    wavs = [made for _, made in at_bandwidths(codec, 0.1 * torch.randn(1, 3000))]
    assert [wav.shape for wav in wavs] == [(1, 3000)] * 3


def test_silence_and_a_run_that_has_come_apart(config: TrainConfig, tmp_path: Path) -> None:
    np.save(tmp_path / "packed.npy", np.zeros(16000, np.int16))
    index = '[["held/\\u00e4 b?.wav", 0, 8000], ["tones/0.wav", 8000, 8000]]'
    (tmp_path / "packed.json").write_text(index)
    corpus = PackedCorpus(tmp_path / "packed", config.data.validation)
    run = Run(config, tmp_path)
    validation = Validation(corpus, config, 8000, tmp_path)
    assert list(validation.run(run.average, 1, 0.5)) == [f"mel_{kbps}" for kbps in KBPS]
    (place,) = (tmp_path / "samples").iterdir()
    assert place.name == "1-held-b-"
    kept = sorted(place.iterdir())
    with torch.no_grad():
        run.average.get_parameter("decoder_out.bias").fill_(torch.nan)
    found = validation.run(run.average, 2, 1.0)
    assert list(found) == FIGURES
    assert np.isnan(list(found.values())).all()
    assert sorted(place.iterdir()) == kept
    assert [row["si_sdr_0.4"] for row in rows(tmp_path)] == ["", "nan"]
    assert run.average.training
