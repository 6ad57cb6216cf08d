"""The imports run one way, and start-up stays light."""

import ast
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("ncodec", "cli", "formats", "web")
# A room imports only rooms of lower floors: those before it in this list.
FLOORS = (
    ("errors",),
    ("formats", "native", "nn"),
    ("audio", "entropy", "models"),
    ("hub",),
    ("bitstream",),
    ("decoding", "encoding", "training"),
    ("codec", "streaming"),
    ("batch", "evaluation", "web"),
    ("cli",),
)
HEIGHTS = {f"ncodec.{room}": height for height, rooms in enumerate(FLOORS) for room in rooms}
OUTSIDE = ("ncodec", "ncodec.__main__")  # the front door and the command


def modules() -> dict[str, Path]:
    found = {}
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            inside = path.relative_to(ROOT).with_suffix("").parts
            if inside[:2] in {("ncodec", room) for room in ROOMS}:
                continue  # links to the rooms beside
            parts = inside if room == "ncodec" else ("ncodec", *inside)
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


def imports(path: Path) -> set[str]:
    """The modules that a file imports, wherever in it that is done."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            inside = {f"{node.module}.{alias.name}" for alias in node.names} & set(MODULES)
            found |= inside or {node.module or ""}
    return found


def within(name: str, rooms: tuple[str, ...]) -> bool:
    return any(name == room or name.startswith(f"{room}.") for room in rooms)


def room_of(name: str) -> str:
    return ".".join(name.split(".")[:2])


MODULES = modules()


def test_every_room_has_its_floor() -> None:
    assert {room_of(name) for name in MODULES} == {*HEIGHTS, *OUTSIDE}
    assert len(FLOORS) <= 9
    entries = {path.name for path in (ROOT / "ncodec").iterdir() if path.name[:2] != "__"}
    assert len(entries - {"py.typed", "cli", "formats", "web"}) <= 16  # rooms elsewhere, or no room


def test_tests_lie_in_folders_of_the_rooms_and_some_of_each_are_quick() -> None:
    tests = Path(__file__).parent
    rooms = {name.split(".")[1] for name in HEIGHTS if MODULES[name].name == "__init__.py"}
    assert {path.parent.name for path in tests.glob("*/test_*.py")} == rooms | {"faults"}
    for room in rooms:
        assert any("mark.quick" in path.read_text() for path in (tests / room).glob("*.py")), room


@pytest.mark.parametrize("name", sorted(set(MODULES) - set(OUTSIDE)))
def test_imports_run_one_way(name: str) -> None:
    room = room_of(name)
    for other in {room_of(other) for other in imports(MODULES[name])} & set(HEIGHTS) - {room}:
        assert HEIGHTS[other] < HEIGHTS[room], f"{name} may not import {other}"
    if room != "ncodec.cli":
        assert "ncodec" not in imports(MODULES[name])


def test_no_module_imports_itself_by_way_of_others() -> None:
    needs = {name: imports(path) & set(MODULES) for name, path in MODULES.items()}
    needs["ncodec"] = set()  # imports what it offers when that is asked for
    TopologicalSorter(needs).prepare()


@pytest.mark.parametrize("name", sorted(n for n in MODULES if "training" not in n))
def test_only_its_commands_import_training(name: str) -> None:
    if name not in ("ncodec.cli.train", "ncodec.cli.train_entropy", "ncodec.cli.evaluate"):
        assert not any(within(other, ("ncodec.training",)) for other in imports(MODULES[name]))


@pytest.mark.parametrize("name", sorted(n for n in MODULES if n.startswith("ncodec.formats")))
def test_formats_need_only_the_standard_library(name: str) -> None:
    for other in imports(MODULES[name]):
        assert other.split(".")[0] in sys.stdlib_module_names or within(
            other, ("ncodec.errors", "ncodec.formats")
        )


@pytest.mark.parametrize("name", sorted(MODULES))
def test_modules_stay_short(name: str) -> None:
    assert len(MODULES[name].read_text().splitlines()) <= 400
