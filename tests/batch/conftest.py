"""Trees of audio, tiny models, and commands in processes of their own."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from trees import Ran

sys.path.append(str(Path(__file__).parents[1] / "faults"))


@pytest.fixture(autouse=True)
def _tiny_models(
    cache: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every test starts in an empty folder, and sees the tiny models; subprocesses too."""
    monkeypatch.setenv("NCODEC_CACHE", str(cache))
    monkeypatch.chdir(tmp_path_factory.mktemp("here"))


@pytest.fixture
def run() -> Callable[..., Ran]:
    """Run `ncodec` in this process."""
    from ncodec.cli.main import main

    def call(*args: str | Path) -> Ran:
        got = CliRunner().invoke(main, [str(arg) for arg in args])
        if got.exception is not None and not isinstance(got.exception, SystemExit):
            raise got.exception
        return Ran(got.exit_code, got.stdout, got.stderr)

    return call


@pytest.fixture
def batch(run: Callable[..., Ran]) -> Callable[..., Ran]:
    """`ncodec batch` with the tiny model, in this process."""
    return lambda *args: run("batch", "-m", "tiny", "-j", "0", *args)


if os.name == "posix":
    from forking import Warm, warm_process

    @pytest.fixture(scope="session")
    def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
        """A process that forks commands."""
        with warm_process(tmp_path_factory.mktemp("printed")) as process:
            yield process
