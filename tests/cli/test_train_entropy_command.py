"""`ncodec train-entropy`. The training itself has its own tests."""

from pathlib import Path
from typing import Any

import pytest
from ran import Run

from ncodec.training import entropy_loop

CONFIG = """
preset = "spectral-tiny"
model_id = "mine"
licence = "CC0-1.0"
[data]
folders = []
packed = "packed"
validation = ["held/*"]
weights = []
"""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the trainer is called with, instead of the trainer."""
    made: list[Any] = []

    def train(codec: Any, data: Any, folder: Path, settings: Any, **options: Any) -> bool:
        made.append((codec.model_id, data, folder, settings.steps, options))
        return options["time_limit_s"] > 1000

    monkeypatch.setattr(entropy_loop, "train_entropy", train)
    Path("mine.toml").write_text(CONFIG)
    return made


def test_defaults(run: Run, calls: list[Any]) -> None:
    ran = run("train-entropy", "tiny", "music", "-o", "there")
    assert (ran.code, ran.raw, ran.err) == (0, b"", "there: finished\n")
    options = {
        "validation": (), "licence": "unknown", "resume": False, "time_limit_s": float("inf"),
        "device": "cpu",
    }  # fmt: skip
    steps = entropy_loop.EntropySettings().steps
    assert calls == [("tiny", (Path("music"),), Path("there"), steps, options)]


def test_options(run: Run, calls: list[Any]) -> None:
    ran = run(
        "train-entropy", "tiny", "a", "b", "-o", "there", "--held-out", "mine.toml",
        "--validation", "c/*", "--steps", "7", "--licence", "CC0-1.0", "--resume",
        "--time-limit", "0.5",
    )  # fmt: skip
    assert (ran.code, ran.err) == (0, "there: stopped at the time limit; --resume goes on\n")
    options = {
        "validation": ("c/*", "held/*"), "licence": "CC0-1.0", "resume": True,
        "time_limit_s": 30.0, "device": "cpu",
    }  # fmt: skip
    assert calls == [("tiny", (Path("a"), Path("b")), Path("there"), 7, options)]


def test_a_run_is_not_overwritten(run: Run, calls: list[Any]) -> None:
    Path("there").mkdir()
    Path("there/checkpoint.pt").touch()
    ran = run("train-entropy", "tiny", "music", "-o", "there")
    assert (ran.code, ran.err) == (
        1,
        "ncodec: error: there: holds a run already; --resume goes on with it\n",
    )
    assert calls == []


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["tiny", "music"], 2, "missing option '-o'"),
        (["tiny", "-o", "there"], 2, "missing argument 'DATA...'"),
        (["nosuch", "music", "-o", "there"], 1, "model 'nosuch': not installed"),
        (["tiny", "music", "-o", "there", "--device", "toaster"], 2, "--device toaster: "),
        (["tiny", "music", "-o", "there", "--held-out", "none.toml"], 2, "none.toml: "),
        (["tiny", "music", "-o", "there", "--steps", "0"], 2, "invalid value for '--steps': "),
    ],
)
def test_bad_command_lines(
    run: Run, calls: list[Any], options: list[str], code: int, said: str
) -> None:
    ran = run("train-entropy", *options)
    assert (ran.code, calls) == (code, [])
    assert ran.err.startswith(f"ncodec: error: {said}")
    assert ran.err.count("\n") == 1
