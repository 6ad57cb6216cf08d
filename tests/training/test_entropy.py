"""Entropy models: their codes, their rounding, their training."""

import csv
import itertools
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ncodec import audio
from ncodec.bitstream.codes import iterate_codes
from ncodec.codec import encode
from ncodec.entropy.layout import EntropyConfig, check
from ncodec.entropy.network import Network
from ncodec.entropy.transformer import TransformerCoder
from ncodec.errors import ModelInvalid, UsageError
from ncodec.formats.ncx import Reader
from ncodec.hub.codecs import ModelFile, find, load_torch_codec
from ncodec.hub.entropy_models import ENTROPY_MODELS, find_for, load_network
from ncodec.training.codes import SPEEDS, CodesCorpus, CodesSource, code_file, pack_codes
from ncodec.training.entropy import EntropyTrainer
from ncodec.training.entropy_loop import EntropyRun, EntropySettings, train_entropy
from ncodec.training.folder import load_checkpoint

SIZES = EntropyConfig(
    n_codebooks=4, codebook_size=16, width=24, n_layers=2, n_heads=3, window=8, hidden=40,
    head_hidden=12,
)  # fmt: skip
SETTINGS = EntropySettings(
    steps=20, batch_size=4, n_frames=40, rate=5e-3, warmup=5, log_every=10, save_every=10,
    bfloat16=False,
)  # fmt: skip


@pytest.fixture(autouse=True)
def codec(cache: Path, monkeypatch: pytest.MonkeyPatch) -> ModelFile:
    monkeypatch.setenv("NCODEC_CACHE", str(cache))
    return find("tiny")


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open() as stream:
        return list(csv.DictReader(stream))


def test_codes_are_those_of_a_file(codec: ModelFile, corpus: Path) -> None:
    path = corpus / "tones" / "1.wav"
    wav, rate = audio.read(path)
    blob = encode(wav, rate, model="tiny", n_q=4, entropy="packed")
    path_codes = code_file(load_torch_codec(codec), path, 1.0)
    packed = corpus.parent / "one.ncx"
    packed.write_bytes(blob)
    with packed.open("rb") as stream:
        (expected,) = iterate_codes(Reader(stream))
    assert np.array_equal(path_codes, expected[0])


def packed_codes(codec: ModelFile, *data: Path, validation: tuple[str, ...] = ()) -> CodesCorpus:
    source = CodesSource(codec.sha256, tuple(map(str, data)), validation)
    pack_codes(load_torch_codec(codec), source, data[0].parent / "codes")
    return CodesCorpus(data[0].parent / "codes", source)


def test_a_corpus_has_every_clip_at_every_speed(codec: ModelFile, corpus: Path) -> None:
    found = packed_codes(codec, corpus, validation=("held/*",))
    assert sorted({clip.speed for clip in found.training}) == sorted(SPEEDS)
    assert len(found.training) == 6 * len(SPEEDS)  # the broken file is left out
    assert [clip.path for clip in found.validation] == ["held/0.wav", "held/1.wav", "held/2.wav"]
    clip = found.training[0]
    assert found.read(clip).shape == (4, clip.n_frames)
    slow, fast = (min(found.training, key=lambda c: sign * c.speed) for sign in (1, -1))
    assert slow.n_frames / fast.n_frames == pytest.approx(fast.speed / slow.speed, rel=0.03)


def test_batches_follow_from_their_number(codec: ModelFile, corpus: Path) -> None:
    found = packed_codes(codec, corpus / "tones")
    first = list(itertools.islice(found.batches(3, 500, seed=1), 4))  # longer than any clip
    again = list(itertools.islice(found.batches(3, 500, seed=1, first=2), 2))
    assert torch.equal(first[2], again[0])
    assert torch.equal(first[3], again[1])
    assert not torch.equal(first[0], first[1])
    assert first[0].shape == (3, 4, 500)


def test_no_audio_is_an_error(codec: ModelFile, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no audio files below"):
        packed_codes(codec, tmp_path)
    with pytest.raises(UsageError, match="nowhere: no such file or folder"):
        packed_codes(codec, tmp_path / "nowhere")
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    with pytest.raises(UsageError, match="none of the audio files could be read"):
        packed_codes(codec, tmp_path)


def run(codec: ModelFile, corpus: Path, folder: Path, **changes: object) -> bool:
    options = {"resume": False, "time_limit_s": 600.0} | changes
    return train_entropy(
        codec, [corpus], folder, SETTINGS, sizes=SIZES, validation=["held/*"], licence="CC0-1.0",
        **options,  # type: ignore[arg-type]
    )  # fmt: skip


def test_training_lowers_the_cost_and_ships_a_model(
    codec: ModelFile, corpus: Path, tmp_path: Path, cache: Path
) -> None:
    assert run(codec, corpus, tmp_path)
    first, last = read_rows(tmp_path / "log.csv")
    assert float(last["n_q_4"]) < float(first["n_q_4"]) < 4
    model = ENTROPY_MODELS.describe(tmp_path / "tiny.safetensors")
    assert (model.codec_id, model.codec_fingerprint) == ("tiny", codec.fingerprint)
    assert model.facts["steps"] == 20
    bits = model.facts["bits_per_code"]["4"]
    assert 0 < bits < 4
    assert model.facts["bits_per_code_unrounded"]["4"] == pytest.approx(bits, rel=0.1)
    network = load_network(model)
    codes = CodesCorpus(tmp_path / "codes", CodesSource(codec.sha256, (str(corpus),), ("held/*",)))
    spent = n_codes = 0
    for clip in codes.validation:
        part = codes.read(clip)[None].numpy()
        coder = TransformerCoder(n_streams=1, n_codebooks=4, codebook_size=16, network=network)
        payload = coder.encode(part)
        assert np.array_equal(coder.decode(payload, part.shape[-1]), part)
        spent += 8 * len(payload)
        n_codes += part.size
    assert round(spent / n_codes, 4) == bits  # what the facts say is what coding takes
    assert find_for(codec) is None  # until it is put where models are


def test_a_folder_keeps_to_its_codec_data_and_validation(
    codec: ModelFile, corpus: Path, tmp_path: Path
) -> None:
    run(codec, corpus, tmp_path, time_limit_s=0.0)
    with pytest.raises(UsageError, match="codec_sha256 was"):
        run(find("modelled"), corpus, tmp_path, resume=True)
    with pytest.raises(UsageError, match="data was"):
        run(codec, corpus / "tones", tmp_path, resume=True)
    with pytest.raises(UsageError, match="validation was"):
        train_entropy(codec, [corpus], tmp_path, SETTINGS, sizes=SIZES, resume=True)


def test_without_validation_nothing_is_said_of_the_cost(
    codec: ModelFile, corpus: Path, tmp_path: Path
) -> None:
    train_entropy(codec, [corpus / "tones"], tmp_path, SETTINGS, sizes=SIZES, time_limit_s=0.0)
    facts = ENTROPY_MODELS.describe(tmp_path / "tiny.safetensors").facts
    assert facts["steps"] == 0
    assert not any(name.startswith("bits_per_code") for name in facts)


def test_sizes_are_refused_before_hours_are_spent(
    codec: ModelFile, corpus: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelInvalid, match="window is 999"):
        train_entropy(codec, [corpus], tmp_path, SETTINGS, sizes=replace(SIZES, window=999))


def test_resumes_exactly(codec: ModelFile, corpus: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(codec, corpus, whole)
    step = EntropyRun._train_step

    def killed(self: EntropyRun, codes: torch.Tensor) -> tuple[int, torch.Tensor]:
        if self.step == 13:
            raise KeyboardInterrupt
        return step(self, codes)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EntropyRun, "_train_step", killed)
        with pytest.raises(KeyboardInterrupt):
            run(codec, corpus, parts)
    run(codec, corpus, parts, resume=True)
    first, second = (torch.load(f / "checkpoint.pt", weights_only=True) for f in (whole, parts))
    assert first["step"] == second["step"] == 20
    for name, tensor in first["model"].items():
        assert torch.equal(tensor, second["model"][name]), name


def test_stops_at_the_time_limit_with_a_checkpoint(
    codec: ModelFile, corpus: Path, tmp_path: Path
) -> None:
    assert not run(codec, corpus, tmp_path, time_limit_s=0.0)
    assert (tmp_path / "checkpoint.pt").exists()
    assert run(codec, corpus, tmp_path, resume=True)


def test_stops_and_saves_when_it_is_told_to(
    codec: ModelFile, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = EntropyRun._train_step

    def told(self: EntropyRun, codes: torch.Tensor) -> tuple[int, torch.Tensor]:
        if self.step == 6:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, codes)

    monkeypatch.setattr(EntropyRun, "_train_step", told)
    assert not run(codec, corpus, tmp_path)
    assert load_checkpoint(tmp_path)["step"] == 7


@torch.no_grad()
def test_rounding_is_that_of_the_integer_network() -> None:
    """In float32 the network in training finds the code lengths of the integers nearly exactly."""
    torch.manual_seed(3)
    trainer = EntropyTrainer(SIZES)
    for parameter in trainer.parameters():
        parameter.add_(0.05 * torch.randn_like(parameter))
    arrays = trainer.integers()
    check(SIZES, arrays)
    codes = torch.randint(0, 16, (6, 4, 50))
    bits = trainer.bits(codes, 4).sum().item()
    network = Network(SIZES, arrays)
    coder = TransformerCoder(n_streams=1, n_codebooks=4, codebook_size=16, network=network)
    spent = sum(8 * len(coder.encode(row[None].numpy())) for row in codes)
    assert spent == pytest.approx(bits, rel=0.01)


def test_gradients_are_those_of_the_code_length() -> None:
    """With rounding off, the loss is smooth: compare its gradient with differences."""
    torch.manual_seed(4)
    trainer = EntropyTrainer(SIZES)
    codes = torch.randint(0, 16, (2, 4, 12))

    def cost() -> torch.Tensor:
        return trainer.bits(codes, 4, exact=False).sum()

    cost().backward()
    for name in ("vectors", "layers_0_attend", "layers_1_down", "heads_out", "heads_bias", "start"):
        parameter = trainer.get_parameter(name)
        assert parameter.grad is not None
        place = np.unravel_index(int(parameter.grad.abs().argmax()), parameter.shape)
        step = 2e-2
        with torch.no_grad():
            parameter[place] += step
            above = cost()
            parameter[place] -= 2 * step
            below = cost()
            parameter[place] += step
        slope = (above - below) / (2 * step)
        assert parameter.grad[place].item() == pytest.approx(slope.item(), rel=0.05), name
