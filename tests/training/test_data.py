from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ncodec import audio
from ncodec.errors import AudioError, UsageError
from ncodec.training.config import DataConfig
from ncodec.training.data import Batch, Crops, PackedCorpus, pack, repanned


@pytest.fixture
def packed(corpus: Path, tmp_path: Path) -> Path:
    pack([corpus], 8000, tmp_path / "packed")
    return tmp_path / "packed"


def crops(
    packed: Path, weights: tuple[tuple[str, float], ...], level: float | None = 0.1, **options: Any
) -> Crops:
    fixed: dict[str, Any] = {"gain_db": (0.0, 0.0), "mix": 0.0, "seconds": 0.5, **options}
    settings = DataConfig((), "", (), weights, **fixed)
    return Crops(PackedCorpus(packed, ["held/*"]), settings, 8000, level)


def rms(wav: torch.Tensor) -> torch.Tensor:
    return wav.square().mean(-1).sqrt()


def test_packs_what_is_audio_and_skips_the_rest(packed: Path) -> None:
    corpus = PackedCorpus(packed, ["held/*"])
    paths = {clip.path for clip in (*corpus.training, *corpus.validation)}
    assert len(paths) == 9
    assert {clip.path.split("/")[0] for clip in corpus.validation} == {"held"}
    tone = corpus.read(corpus.validation[0])
    wanted = 0.3 * np.sin(2 * np.pi * 200 * np.arange(16000) / 8000)
    np.testing.assert_allclose(tone, wanted, atol=1e-4)


def test_resamples_and_downmixes(tmp_path: Path) -> None:

    (tmp_path / "in").mkdir()
    t = np.arange(48000) / 48000
    left = np.sin(2 * np.pi * 440 * t).astype(np.float32) * 0.5
    audio.write(tmp_path / "in/a.wav", np.stack([left, -left * 0.5]), 48000)
    pack([tmp_path / "in"], 8000, tmp_path / "packed")
    corpus = PackedCorpus(tmp_path / "packed", [])
    wav = corpus.read(corpus.training[0])
    assert len(wav) == 8000
    assert float(wav[1000:7000].square().mean().sqrt()) == pytest.approx(0.125 / 2**0.5, rel=0.01)


def test_crops_come_at_the_level_of_a_chunk(packed: Path) -> None:
    batch = next(crops(packed, (("tones/*", 1.0),), level=0.07).batches(8, seed=1))
    assert batch.wav.shape == (8, 4000)
    assert batch.wav.dtype == torch.float32
    torch.testing.assert_close(rms(batch.wav), torch.full((8,), 0.07), rtol=0.02, atol=0)
    assert batch.denoise is None
    assert torch.equal(batch.wav, batch.target)


def test_crops_keep_their_level_for_a_codec_that_does(packed: Path) -> None:
    drawn = crops(packed, (("tones/*", 1.0),), level=None, gain_db=(-20.0, 0.0))
    levels_db = 20 * rms(next(drawn.batches(64, seed=1)).wav).log10()
    own_db = 20 * np.log10(0.3 / 2**0.5)
    assert own_db - 20.1 < levels_db.min() < own_db - 15
    assert own_db - 5 < levels_db.max() < own_db + 0.1


NOISE = (("noise/*", 1.0),)


def test_noise_is_added_and_is_in_what_is_wanted_unless_taken_away(packed: Path) -> None:
    drawn = crops(packed, (("tones/*", 1.0),), noise=NOISE, noise_db=(3.0, 9.0), denoise=0.25)
    batch = next(drawn.batches(400, seed=1))
    assert batch.denoise is not None
    assert batch.denoise.dtype == torch.bool
    assert 70 < batch.denoise.sum() < 130
    assert torch.equal(batch.wav[~batch.denoise], batch.target[~batch.denoise])
    clean, heard = batch.target[batch.denoise], batch.wav[batch.denoise]
    torch.testing.assert_close(rms(clean), torch.full((len(clean),), 0.1), rtol=0.02, atol=0)
    below_db = 20 * (rms(clean) / rms(heard - clean)).log10()
    assert 2.5 < below_db.min() < 4
    assert 8 < below_db.max() < 9.5


def test_noise_keeps_its_distance_at_any_level(packed: Path) -> None:
    drawn = crops(
        packed, (("tones/*", 1.0),), level=None, noise=NOISE, noise_db=(6.0, 6.0), denoise=1.0,
        gain_db=(-30.0, 0.0),
    )  # fmt: skip
    batch = next(drawn.batches(16, seed=1))
    ratio = rms(batch.target) / rms(batch.wav - batch.target)
    torch.testing.assert_close(ratio, torch.full((16,), 10**0.3), rtol=0.1, atol=0)


def test_crops_without_noise_are_wanted_as_they_are(packed: Path) -> None:
    drawn = crops(packed, (("tones/*", 1.0),), noise=NOISE, noisy=0.5, denoise=1.0)
    batch = next(drawn.batches(200, seed=1))
    assert batch.denoise is not None
    assert batch.denoise.all()
    is_clean = (batch.wav == batch.target).all(1)
    assert 70 < is_clean.sum() < 130


def test_same_seed_same_crops(packed: Path) -> None:
    drawn = crops(packed, (("noise/*", 1.0), ("tones/*", 3.0)), noise=NOISE)
    first, again, other = (list(islice(drawn.batches(2, seed), 3)) for seed in (5, 5, 6))
    late = next(drawn.batches(2, 5, first=2))

    def same(a: Batch, b: Batch) -> bool:
        assert a.denoise is not None
        assert b.denoise is not None
        pairs = ((a.wav, b.wav), (a.target, b.target), (a.denoise, b.denoise))
        return all(torch.equal(x, y) for x, y in pairs)

    assert all(same(a, b) for a, b in zip(first, again, strict=True))
    assert same(first[2], late)
    assert not same(first[0], other[0])
    assert not same(first[0], next(drawn.batches(2, 5, worker=1)))


def test_validation_is_never_drawn(packed: Path) -> None:
    with pytest.raises(UsageError, match="held"):
        next(crops(packed, (("held/*", 1.0),)).batches(2, seed=0))


def test_errors(tmp_path: Path, packed: Path) -> None:
    with pytest.raises(UsageError, match="no such file or folder"):
        pack([tmp_path / "nothing"], 8000, tmp_path / "x")
    with pytest.raises(AudioError, match="no clip"):
        PackedCorpus(packed, ["*"])


def test_crops_at_other_speeds_are_whole_and_of_another_pitch(packed: Path) -> None:
    spreads = []
    for speed in (0.0, 0.2):
        drawn = crops(packed, (("tones/*", 1.0),), speed=speed, seconds=1.0)
        wav = next(drawn.batches(64, seed=1)).wav
        assert wav.shape == (64, 8000)
        torch.testing.assert_close(rms(wav), torch.full((64,), 0.1), rtol=0.03, atol=0)
        spreads.append(torch.fft.rfft(wav * torch.hann_window(8000)).abs().argmax(1).unique())
    as_recorded, varied = spreads
    assert len(varied) > 2 * len(as_recorded)
    assert varied.min() >= as_recorded.min() * 0.8 - 1
    assert varied.max() <= as_recorded.max() * 1.2 + 1


def test_stereo_is_kept_and_low_rates_are_left_out(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    wav = (0.1 * rng.standard_normal((2, 48000))).astype(np.float32)
    (tmp_path / "in").mkdir()
    audio.write(tmp_path / "in/a.wav", wav, 48000)
    audio.write(tmp_path / "in/mono.wav", wav[:1], 48000)
    audio.write(tmp_path / "in/low.wav", wav, 24000)
    pack([tmp_path / "in"], 48000, tmp_path / "packed", n_channels=2, least_rate_hz=44100)
    corpus = PackedCorpus(tmp_path / "packed", ())
    assert [clip.path for clip in corpus.training] == ["a.wav", "mono.wav"]
    stereo, mono = (corpus.read(clip) for clip in corpus.training)
    np.testing.assert_allclose(stereo, wav, atol=1e-4)
    assert torch.equal(mono[0], mono[1])
    with pytest.raises(UsageError, match="no audio of 96000 Hz or more"):
        pack([tmp_path / "in"], 48000, tmp_path / "x", n_channels=2, least_rate_hz=96000)


def test_repanned_crops_keep_their_mid() -> None:
    rng = np.random.default_rng(0)
    crop = rng.standard_normal((1000, 2)).astype(np.float32)
    widths, swapped = [], 0
    for _ in range(50):
        left, right = repanned(crop, rng).T
        side = (crop[:, 0] - crop[:, 1]) / 2
        widths.append(float(np.abs(left - right).std() / np.abs(2 * side).std()))
        swapped += float((left - right) @ side) < 0
    assert min(widths) < 0.5
    assert max(widths) > 1
    assert 10 < swapped < 40
    same = repanned(np.ones((10, 2), np.float32), rng)
    assert 0.6 < same[0, 0] * same[0, 1] < 1.7  # balance: what one side gains the other loses
    np.testing.assert_allclose(same[:, 0] * same[:, 1], 1, rtol=1e-5)
