"""Commands in processes of their own, and what they work on."""

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

if os.name != "posix":
    collect_ignore_glob = ["test_*.py"]  # everything here is about signals, pipes and devices
else:
    from forking import Here, Warm, warm_process


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Warm]":
    with warm_process(tmp_path_factory.mktemp("printed")) as process:
        yield process


@pytest.fixture(scope="session")
def songs(tmp_path_factory: pytest.TempPathFactory, warm: "Warm", cache: Path) -> Path:
    """song.wav and song.flac, 3 s of stereo noise, and song.ncx of it."""
    import numpy as np
    import soundfile

    folder = tmp_path_factory.mktemp("songs")
    noise = np.random.default_rng(1).integers(-3000, 3000, (24_000, 2), np.int16)
    for name in ("song.wav", "song.flac"):
        soundfile.write(folder / name, noise, 8000, "PCM_16")
    encode = ("encode", "-q", "-m", "tiny", "song.wav")
    ended = warm.run(*encode, cwd=folder, env={"NCODEC_CACHE": str(cache)})
    assert (ended.code, ended.err) == (0, "")
    return folder


@pytest.fixture
def here(songs: Path, tmp_path: Path, warm: "Warm", cache: Path) -> "Here":
    """A folder of its own for each test."""
    shutil.copytree(songs, tmp_path, dirs_exist_ok=True)
    return Here(tmp_path, warm, cache)
