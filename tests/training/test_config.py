from collections.abc import Callable
from dataclasses import replace
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
    first, second = (
        read_config(path) for path in SHIPPED if path.stem in ("spectral", "spectral-adversarial")
    )
    assert first.data == second.data


def test_what_is_held_out_of_the_default_model_is_held_out_of_the_wider_one() -> None:
    first, second = (
        read_config(path) for path in SHIPPED if path.stem in ("spectral", "spectral-wide")
    )
    assert first.data.validation == second.data.validation


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
        ("[optimiser]\nbetas = 0.5", "betas: expected"),
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


Write = Callable[[str, str], Path]  # a file's name and text: its path

BASE = """
preset = "spectral-tiny"
model_id = "base"
licence = "CC0-1.0"

[data]
folders = ["corpus"]
packed = "packed"
validation = ["held/*"]
weights = [["tones/*", 1.0], ["noise/*", 1.0]]
seconds = 0.5

[optimiser]
steps = 20
warmup = 5
"""


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a configuration beside base.toml."""
    (tmp_path / "base.toml").write_text(BASE)

    def written(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return written


def test_a_config_that_extends_another_says_only_what_differs(write: Write) -> None:
    changes = """
extends = "base.toml"
model_id = "own"
[data]
seconds = 2.0
weights = [["speech/*", 1.0]]
[adversary]
kinds = [["msstft", 1.0]]
[optimiser]
steps = 7
"""
    base, own = read_config(write("base.toml", BASE)), read_config(write("own.toml", changes))
    assert own == replace(
        base, model_id="own",
        data=replace(base.data, seconds=2.0, weights=(("speech/*", 1.0),)),
        adversary=replace(base.adversary, kinds=(("msstft", 1.0),)),
        optimiser=replace(base.optimiser, steps=7),
    )  # fmt: skip


def test_extends_is_looked_up_from_file_to_file(write: Write) -> None:
    write("first.toml", 'extends = "base.toml"\nmodel_id = "first"\nseed = 2\nlog_every = 3')
    path = write("deeper/second.toml", 'extends = "../first.toml"\nseed = 4')
    config = read_config(path)
    assert (config.preset, config.model_id) == ("spectral-tiny", "first")
    assert (config.seed, config.log_every) == (4, 3)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('extends = "own.toml"', r"own\.toml: extends: .* not lead back, found 'own\.toml'"),
        ('extends = "loop.toml"', r"extends: expected a file that does not lead back"),
        ('extends = "absent.toml"', r"absent\.toml: .*No such file"),
        ('extends = "broken.toml"', r"broken\.toml: Invalid"),
        ('extends = ["base.toml"]', r"own\.toml: extends: expected a file .* found \['base"),
        ('[data]\nextends = "base.toml"', r"own\.toml \[data\]: unknown keys: extends"),
        ('extends = "base.toml"\ndata = 3', r"own\.toml \[data\]: expected a table, found 3"),
        ('extends = "base.toml"\nstepss = 3', r"own\.toml: unknown keys: stepss"),
    ],
)
def test_refuses_what_cannot_be_extended(write: Write, line: str, message: str) -> None:
    write("loop.toml", 'extends = "own.toml"')
    write("broken.toml", "= 3")
    with pytest.raises(UsageError, match=message):
        read_config(write("own.toml", line))
