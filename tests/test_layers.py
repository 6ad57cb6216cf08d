"""The imports run one way, and start-up stays light."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("ncodec", "cli", "formats")
# Room -> the rooms it may import. Longest prefix decides.
ALLOWED = {
    "ncodec.errors": (),
    "ncodec.formats": ("ncodec.errors",),
    "ncodec.files": ("ncodec.errors",),
    "ncodec.audio": ("ncodec.errors", "ncodec.files"),
    "ncodec.nn": ("ncodec.errors",),
    "ncodec.entropy": ("ncodec.errors", "ncodec.nn", "ncodec.threads"),
    "ncodec.models": ("ncodec.errors", "ncodec.nn"),
    "ncodec.registry": ("ncodec.errors", "ncodec.models"),
    "ncodec.store.public": ("ncodec.errors",),
    "ncodec.store.download": ("ncodec.errors",),
    "ncodec.weights": (
        "ncodec.errors", "ncodec.files", "ncodec.models", "ncodec.registry", "ncodec.store.public",
    ),
    "ncodec.entropy_models": (
        "ncodec.errors", "ncodec.entropy", "ncodec.formats", "ncodec.weights",
    ),
    "ncodec.ecdc": (
        "ncodec.errors", "ncodec.formats", "ncodec.models", "ncodec.threads", "ncodec.weights",
    ),
    "ncodec.store": (
        "ncodec.errors", "ncodec.ecdc", "ncodec.entropy_models", "ncodec.files", "ncodec.weights",
    ),
    "ncodec.checkpoints": (
        "ncodec.errors", "ncodec.ecdc", "ncodec.entropy_models", "ncodec.files", "ncodec.models",
        "ncodec.nn", "ncodec.store", "ncodec.weights",
    ),
    "ncodec.codes": (
        "ncodec.errors", "ncodec.entropy", "ncodec.entropy_models", "ncodec.formats",
    ),
    "ncodec.decoding": (
        "ncodec.errors", "ncodec.audio", "ncodec.codes", "ncodec.formats", "ncodec.models",
        "ncodec.threads", "ncodec.weights",
    ),
    "ncodec.effort": (
        "ncodec.errors", "ncodec.entropy", "ncodec.entropy_models", "ncodec.models", "ncodec.nn",
    ),
    "ncodec.encoding": (
        "ncodec.errors", "ncodec.audio", "ncodec.models", "ncodec.nn", "ncodec.threads",
        "ncodec.weights",
    ),
    "ncodec.codec": (
        "ncodec.errors", "ncodec.audio", "ncodec.codes", "ncodec.decoding", "ncodec.effort",
        "ncodec.encoding", "ncodec.entropy_models", "ncodec.formats", "ncodec.models",
        "ncodec.threads", "ncodec.weights",
    ),
    "ncodec.streaming": (
        "ncodec.errors", "ncodec.codec", "ncodec.decoding", "ncodec.effort", "ncodec.encoding",
        "ncodec.entropy_models", "ncodec.formats", "ncodec.weights",
    ),
    "ncodec.copying": ("ncodec.errors", "ncodec.codes", "ncodec.entropy", "ncodec.formats"),
    "ncodec.repacking": (
        "ncodec.errors", "ncodec.codec", "ncodec.codes", "ncodec.copying", "ncodec.decoding",
        "ncodec.entropy_models", "ncodec.formats", "ncodec.models", "ncodec.weights",
    ),
    "ncodec.repairing": (
        "ncodec.errors", "ncodec.codes", "ncodec.decoding", "ncodec.formats",
    ),
    "ncodec.transcode": (
        "ncodec.errors", "ncodec.audio", "ncodec.codec", "ncodec.codes", "ncodec.ecdc",
        "ncodec.effort", "ncodec.encoding", "ncodec.entropy_models", "ncodec.formats",
        "ncodec.models", "ncodec.weights",
    ),
    "ncodec.batch": (
        "ncodec.errors", "ncodec.audio", "ncodec.codec", "ncodec.codes", "ncodec.decoding",
        "ncodec.effort", "ncodec.encoding", "ncodec.entropy", "ncodec.entropy_models",
        "ncodec.files", "ncodec.formats", "ncodec.models", "ncodec.threads", "ncodec.weights",
    ),
    "ncodec.threads": (),
    "ncodec.distances": ("ncodec.audio", "ncodec.nn", "ncodec.threads"),
    "ncodec.inspection": ("ncodec.errors", "ncodec.codes", "ncodec.entropy", "ncodec.formats"),
    "ncodec.training": (
        "ncodec.errors", "ncodec.audio", "ncodec.distances", "ncodec.models", "ncodec.entropy",
        "ncodec.entropy_models", "ncodec.nn", "ncodec.registry", "ncodec.weights",
    ),
    "ncodec.evaluation": (
        "ncodec.errors", "ncodec.audio", "ncodec.codec", "ncodec.decoding", "ncodec.distances",
        "ncodec.entropy_models", "ncodec.files", "ncodec.formats", "ncodec.models", "ncodec.nn",
        "ncodec.threads", "ncodec.weights",
    ),
    "ncodec.cli": ("ncodec",),
    "ncodec": ("ncodec.codec",),
}  # fmt: skip


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


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_run_one_way(name: str) -> None:
    home = max((room for room in ALLOWED if within(name, (room,))), key=len)
    ours = {other for other in imports(MODULES[name]) if other.split(".")[0] == "ncodec"}
    wrong = {other for other in ours if not within(other, (home, *ALLOWED[home]))}
    assert not wrong, f"{name} may not import {sorted(wrong)}"


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
