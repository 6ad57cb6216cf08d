"""A tiny untrained model, and the commands as functions."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from ran import Ran, Run
from tones import make_audio

from ncodec.cli.main import main


@pytest.fixture(autouse=True)
def _in_an_empty_folder(
    cache: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every test starts in an empty folder, and sees the tiny model; subprocesses too."""
    monkeypatch.setenv("NCODEC_CACHE", str(cache))
    monkeypatch.chdir(tmp_path_factory.mktemp("here"))


@pytest.fixture
def run() -> Run:
    """Run a command in this process; `stdin` is what it reads there."""

    def call(*args: str | Path, stdin: bytes = b"") -> Ran:
        got = CliRunner().invoke(main, [str(arg) for arg in args], input=stdin)
        if got.exception is not None and not isinstance(got.exception, SystemExit):
            raise got.exception
        return Ran(got.exit_code, got.stdout_bytes, got.stderr)

    return call


@pytest.fixture
def encode(run: Run) -> Run:
    """`ncodec encode` with the tiny model."""
    return lambda *args, stdin=b"": run("encode", "-m", "tiny", *args, stdin=stdin)


@pytest.fixture
def make_ncx(encode: Run) -> Callable[..., Path]:
    """Encode a tone into a file of that name."""

    def make(name: str = "song.ncx", *options: str, **of_audio: Any) -> Path:
        suffix = "flac" if of_audio.get("n_samples") != 0 else "wav"  # no FLAC of 0 samples
        source = make_audio(f".source.{suffix}", **of_audio)
        ran = encode(source, "-o", name, *options)
        assert ran.code == 0, ran.err
        source.unlink()
        return Path(name)

    return make
