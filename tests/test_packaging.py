"""What is installed is all there is."""

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import ncodec

ROOT = Path(__file__).parent.parent
LINKED = ("cli", "formats", "web")  # rooms at the top level
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_every_package_is_listed() -> None:
    rooms = {"ncodec": "ncodec"} | {room: f"ncodec.{room}" for room in LINKED}
    there = set()
    for folder, package in rooms.items():
        for init in (ROOT / folder).rglob("__init__.py"):
            inside = init.parent.relative_to(ROOT / folder).parts
            if folder != "ncodec" or inside[:1] not in {(room,) for room in LINKED}:
                there.add(".".join((package, *inside)))
    assert there == set(PROJECT["tool"]["setuptools"]["packages"])


def test_links_lead_to_the_rooms() -> None:
    for room in LINKED:
        link = ROOT / "ncodec" / room
        target = link.readlink().as_posix() if link.is_symlink() else link.read_text()
        assert target == f"../{room}"


@pytest.fixture
def clone_without_links(tmp_path: Path) -> Path:
    """The tree as a zip, or a Windows without links, has it; and without weights, to be small."""
    clone = tmp_path / "clone"
    unwanted = shutil.ignore_patterns("__pycache__", "*.safetensors")
    for room in ("ncodec", *LINKED):
        shutil.copytree(ROOT / room, clone / room, symlinks=True, ignore=unwanted)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, clone)
    for room in LINKED:
        (clone / "ncodec" / room).unlink()
        (clone / "ncodec" / room).write_text(f"../{room}")
    return clone


def test_a_clone_without_links_installs_and_runs(clone_without_links: Path, cache: Path) -> None:
    pytest.importorskip("setuptools", minversion="77")
    dist, site = clone_without_links / "dist", clone_without_links / "site"
    build = "import sys, setuptools.build_meta as backend; backend.build_wheel(sys.argv[1])"
    subprocess.run(
        [sys.executable, "-c", build, dist], cwd=clone_without_links, check=True,
        capture_output=True,
    )  # fmt: skip
    (wheel,) = dist.iterdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    sample = ROOT / "samples" / "music_mono.6kbps.ncx"
    code = (
        "import ncodec.cli.main as command, ncodec.formats as formats, sys; "
        "print(command.__file__, formats.__file__, flush=True); command.main(sys.argv[1:])"
    )

    def run(*arguments: str | Path) -> str:
        return subprocess.run(
            [sys.executable, "-P", "-c", code, *arguments], cwd=site, check=True,
            env={**os.environ, "PYTHONPATH": str(site), "NCODEC_CACHE": str(cache)},
            capture_output=True, text=True,
        ).stdout  # fmt: skip

    first, inspection = run("inspect", sample).split("\n", 1)
    installed = (site / "ncodec" / "cli" / "main.py", site / "ncodec" / "formats" / "__init__.py")
    assert first == " ".join(map(str, installed))
    assert "spectral" in inspection
    run("web", "export", "-m", "tiny", "-o", "player")
    run("web", "export", "-m", "tiny", "-o", "player.html", "--single-file")
    assert (site / "player" / "ncx" / "reader.js").exists()
    assert not list((site / "ncodec" / "web").rglob("build.py"))


def test_version_is_said_once() -> None:
    assert PROJECT["project"]["version"] == ncodec.__version__


def test_packages_are_typed() -> None:
    assert (ROOT / "ncodec" / "py.typed").exists()
