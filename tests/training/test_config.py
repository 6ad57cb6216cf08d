from pathlib import Path

import pytest

from ncodec.errors import UsageError
from ncodec.training.config import TrainConfig, read_config

SHIPPED = sorted((Path(__file__).parents[2] / "ncodec/training/configs").glob("*.toml"))


def test_reads_sections_and_defaults(config: TrainConfig) -> None:
    assert config.optimiser.steps == 20
    assert config.data.weights == (("tones/*", 1.0), ("noise/*", 1.0))
    assert config.optimiser.clip == 1.0
    assert config.adversary.kinds == ()


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_configs_are_valid(path: Path) -> None:
    assert read_config(path).model_id == path.stem


def test_fine_tuning_keeps_to_the_data_of_the_first_training() -> None:
    first, second = (read_config(path) for path in SHIPPED if path.stem.startswith("spectral"))
    assert first.data == second.data


def test_there_are_shipped_configs() -> None:
    assert SHIPPED


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("stepss = 3", "unknown keys: stepss"),
        ("[optimiser]\nrate = 3", "unknown keys: rate"),
        ("[adversary]\nsizes = 3", "unknown keys: sizes"),
        ("[loss]\nadversary = 3", "unknown keys: adversary"),
        ('[adversary]\nkinds = ["wave"]', "kinds: expected"),
        ("= 3", "Invalid"),
        ("", "missing"),
    ],
)
def test_refuses_what_it_does_not_know(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "run.toml"
    path.write_text(line)
    with pytest.raises(UsageError, match=message) as caught:
        read_config(path)
    assert "run.toml" in str(caught.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="absent"):
        read_config(tmp_path / "absent.toml")
