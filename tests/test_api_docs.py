"""The examples of docs/API.md run as they are written."""

import doctest
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.quick
def test_the_examples_of_the_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NCODEC_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "samples" / "music_mono.flac", "song.flac")
    failed, n_run = doctest.testfile(
        str(ROOT / "docs" / "API.md"),
        module_relative=False,
        optionflags=doctest.IGNORE_EXCEPTION_DETAIL,
    )
    assert failed == 0, capsys.readouterr().out
    assert n_run > 20
