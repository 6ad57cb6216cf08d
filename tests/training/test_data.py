from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from ncodec.errors import AudioError, UsageError
from ncodec.training.data import LEVEL, Crops, PackedCorpus, pack


@pytest.fixture
def packed(corpus: Path, tmp_path: Path) -> Path:
    pack([corpus], 8000, tmp_path / "packed")
    return tmp_path / "packed"


def crops(packed: Path, weights: tuple[tuple[str, float], ...]) -> Crops:
    return Crops(PackedCorpus(packed, ["held/*"]), weights, 4000, 8000, (0.0, 0.0), mix=0.0)


def test_packs_what_is_audio_and_skips_the_rest(packed: Path) -> None:
    corpus = PackedCorpus(packed, ["held/*"])
    paths = {clip.path for clip in (*corpus.training, *corpus.validation)}
    assert len(paths) == 9
    assert {clip.path.split("/")[0] for clip in corpus.validation} == {"held"}
    tone = corpus.read(corpus.validation[0])
    wanted = 0.3 * np.sin(2 * np.pi * 200 * np.arange(16000) / 8000)
    np.testing.assert_allclose(tone, wanted, atol=1e-4)


def test_resamples_and_downmixes(tmp_path: Path) -> None:
    from ncodec import audio

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
    batch = next(crops(packed, (("noise/*", 1.0),)).batches(8, seed=1))
    assert batch.shape == (8, 4000)
    assert batch.dtype == torch.float32
    rms = batch.square().mean(1).sqrt()
    torch.testing.assert_close(rms, torch.full((8,), LEVEL), rtol=0.05, atol=0)


def test_same_seed_same_crops(packed: Path) -> None:
    drawn = crops(packed, (("noise/*", 1.0), ("tones/*", 3.0)))
    first, again, other = (list(islice(drawn.batches(2, seed), 3)) for seed in (5, 5, 6))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])


def test_validation_is_never_drawn(packed: Path) -> None:
    with pytest.raises(UsageError, match="held"):
        next(crops(packed, (("held/*", 1.0),)).batches(2, seed=0))


def test_errors(tmp_path: Path, packed: Path) -> None:
    with pytest.raises(UsageError, match="no such file or folder"):
        pack([tmp_path / "nothing"], 8000, tmp_path / "x")
    with pytest.raises(AudioError, match="no clip"):
        PackedCorpus(packed, ["*"])
