"""What is installed is all there is."""

import tomllib
from pathlib import Path

import ncodec

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_every_package_is_listed() -> None:
    rooms = {"ncodec": "ncodec", "cli": "ncodec.cli", "formats": "ncodec.formats"}
    there = set()
    for folder, package in rooms.items():
        for init in (ROOT / folder).rglob("__init__.py"):
            inside = init.parent.relative_to(ROOT / folder).parts
            if folder != "ncodec" or inside[:1] not in (("cli",), ("formats",)):
                there.add(".".join((package, *inside)))
    assert there == set(PROJECT["tool"]["setuptools"]["packages"])


def test_links_lead_to_the_rooms() -> None:
    for room in ("cli", "formats"):
        assert (ROOT / "ncodec" / room).resolve() == ROOT / room


def test_version_is_said_once() -> None:
    assert PROJECT["project"]["version"] == ncodec.__version__


def test_packages_are_typed() -> None:
    assert (ROOT / "ncodec" / "py.typed").exists()
