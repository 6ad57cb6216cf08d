import importlib.util
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from ncodec import audio

SAMPLES = Path(__file__).parents[1] / "samples"
FILES = sorted(path for path in SAMPLES.glob("*") if path.suffix in (".flac", ".wav"))
assert FILES, f"no audio in {SAMPLES}"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_samples", SAMPLES / "make_samples.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def readme_rows() -> dict[str, tuple[int, int, float]]:
    row = re.compile(r"^\| (\w+\.\w+) \| .* \| ([\d ]+) Hz \| (\d) \| ([\d.]+) s \|", re.MULTILINE)
    text = (SAMPLES / "README.md").read_text(encoding="utf-8")
    return {
        name: (int(rate.replace(" ", "")), int(n_channels), float(seconds))
        for name, rate, n_channels, seconds in row.findall(text)
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_each_sample_is_as_the_readme_says(path: Path) -> None:
    rate, n_channels, seconds = readme_rows()[path.name]
    wav, rate_found = audio.read(path)
    assert rate_found == rate
    assert wav.shape[0] == n_channels
    assert wav.shape[1] / rate == pytest.approx(seconds, abs=0.05)
    assert 3 <= seconds <= 6


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_each_sample_is_at_a_sound_level(path: Path) -> None:
    wav, _ = audio.read(path)
    level_db = 10 * np.log10(np.mean(wav**2, axis=1))
    assert np.abs(wav).max() == pytest.approx(0.89, abs=1e-3)
    assert level_db.min() > -26
    assert level_db.max() < -12
    assert np.abs(wav.mean(axis=1)).max() < 5e-3


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_each_sample_carries_its_licence(path: Path) -> None:
    with audio.AudioSource(path) as source:
        assert dict(source.tags)["LICENSE"] == "CC0-1.0"
        assert dict(source.tags)["TITLE"] == path.stem.replace("_", " ")


def test_the_readme_lists_the_samples_and_nothing_else() -> None:
    assert sorted(readme_rows()) == [path.name for path in FILES]


def test_the_samples_are_small() -> None:
    assert sum(path.stat().st_size for path in FILES) < 2_000_000


@pytest.mark.parametrize("name", ["music_mono", "music_stereo"])
def test_the_script_makes_the_music_that_is_stored(script: ModuleType, name: str) -> None:
    wav, rate = script.make_music(name)
    stored, stored_rate = audio.read(SAMPLES / f"{name}.flac")
    assert rate == stored_rate
    assert wav.shape == stored.shape
    assert np.abs(wav - stored).max() < 2 / 32768


def test_the_stereo_music_is_not_mono() -> None:
    wav, _ = audio.read(SAMPLES / "music_stereo.flac")
    side, mid = wav[0] - wav[1], wav[0] + wav[1]
    assert 0.01 < np.mean(side**2) / np.mean(mid**2) < 0.5


def test_every_compressed_sample_has_its_source_and_is_listed() -> None:
    stems = {path.stem for path in FILES}
    for path in SAMPLES.glob("*.ncx"):
        assert any(path.name.startswith(stem) for stem in stems)
        assert path.name in (SAMPLES / "README.md").read_text(encoding="utf-8")
