"""The imports run one way, and start-up stays light."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("ncodec", "cli", "formats")
# Who imports whom: each room only rooms of the floors above it in this list.
FLOORS = (
    ("errors", "threads"),
    ("atomic_files", "formats", "nn"),
    ("audio", "entropy", "models"),
    ("hub",),
    ("bitstream",),
    ("decoding", "encoding", "training"),
    ("codec",),
    ("bitstream.repack", "bitstream.repair", "bitstream.ecdc.convert", "streaming"),
    ("batch", "evaluation"),
    ("cli",),
)


def modules() -> dict[str, Path]:
    found = {}
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            inside = path.relative_to(ROOT).with_suffix("").parts
            if inside[:2] in (("ncodec", "cli"), ("ncodec", "formats")):
                continue  # links to the rooms beside
            parts = inside if room == "ncodec" else ("ncodec", *inside)
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
    return found


def within(name: str, rooms: tuple[str, ...]) -> bool:
    return any(name == room or name.startswith(f"{room}.") for room in rooms)


MODULES = modules()


def floor(name: str) -> tuple[int, str]:
    """The floor that a module stands on, and its room."""
    found = [
        (number, room)
        for number, rooms in enumerate(FLOORS)
        for room in rooms
        if within(name, (f"ncodec.{room}",))
    ]
    return max(found, key=lambda row: len(row[1]))


@pytest.mark.parametrize("name", sorted(set(MODULES) - {"ncodec", "ncodec.__main__"}))
def test_imports_run_one_way(name: str) -> None:
    height, room = floor(name)
    for other in imports(MODULES[name]):
        if other.split(".")[0] == "ncodec" and (room != "cli" or other != "ncodec"):
            lower, its_room = floor(other)
            assert its_room == room or lower < height, f"{name} may not import {other}"


@pytest.mark.parametrize("name", sorted(n for n in MODULES if "training" not in n))
def test_only_its_commands_import_training(name: str) -> None:
    if name not in ("ncodec.cli.train", "ncodec.cli.train_entropy", "ncodec.cli.evaluate"):
        assert not any(within(other, ("ncodec.training",)) for other in imports(MODULES[name]))


@pytest.mark.parametrize("name", sorted(n for n in MODULES if n.startswith("ncodec.formats")))
def test_formats_need_only_the_standard_library(name: str) -> None:
    heavy = {"torch", "numpy", "click", "constriction", "soundfile"}
    assert not {other.split(".")[0] for other in imports(MODULES[name])} & heavy


@pytest.mark.parametrize("name", sorted(MODULES))
def test_modules_stay_short(name: str) -> None:
    assert len(MODULES[name].read_text().splitlines()) <= 400
