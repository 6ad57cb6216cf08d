"""`ncodec train`. The training itself has its own tests."""

from pathlib import Path
from typing import Any

import pytest
from ran import Run

from ncodec.training import loop

CONFIG = """
preset = "spectral-tiny"
model_id = "mine"
licence = "CC0-1.0"
[data]
folders = []
packed = "packed"
validation = []
weights = []
"""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the trainer is called with, instead of the trainer."""
    made: list[Any] = []

    def train(config: Any, folder: Path, **options: Any) -> bool:
        made.append((config.model_id, folder, options))
        return options["time_limit_s"] > 1000

    monkeypatch.setattr(loop, "train", train)
    Path("mine.toml").write_text(CONFIG)
    return made


def test_defaults(run: Run, calls: list[Any]) -> None:
    ran = run("train", "mine.toml")
    assert (ran.code, ran.raw, ran.err) == (0, b"", "runs/mine: finished\n")
    options = {"resume": False, "time_limit_s": float("inf"), "device": "cpu"}
    assert calls == [("mine", Path("runs/mine"), options)]


def test_options(run: Run, calls: list[Any]) -> None:
    ran = run("train", "mine.toml", "-o", "there", "--resume", "--time-limit", "0.5")
    assert (ran.code, ran.err) == (0, "there: stopped at the time limit; --resume goes on\n")
    options = {"resume": True, "time_limit_s": 30.0, "device": "cpu"}
    assert calls == [("mine", Path("there"), options)]


def test_a_run_is_not_overwritten(run: Run, calls: list[Any]) -> None:
    Path("there").mkdir()
    Path("there/checkpoint.pt").touch()
    ran = run("train", "mine.toml", "-o", "there")
    assert (ran.code, ran.err) == (
        1,
        "ncodec: error: there: holds a run already; --resume goes on with it\n",
    )
    assert calls == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["none.toml"], "none.toml: "),
        (["mine.toml", "--device", "toaster"], "--device toaster: "),
        (["mine.toml", "--time-limit", "0"], "invalid value for '--time-limit': "),
        (["mine.toml", "--threads", "0"], "invalid value for '--threads': "),
    ],
)
def test_bad_command_lines_exit_with_2(
    run: Run, calls: list[Any], options: list[str], said: str
) -> None:
    ran = run("train", *options)
    assert (ran.code, calls) == (2, [])
    assert ran.err.startswith(f"ncodec: error: {said}")
    assert ran.err.count("\n") == 1


def test_unknown_keys_are_refused(run: Run, calls: list[Any]) -> None:
    Path("mine.toml").write_text("colour = 'red'\n" + CONFIG)
    ran = run("train", "mine.toml")
    assert (ran.code, calls) == (2, [])
    assert "unknown keys: colour" in ran.err
