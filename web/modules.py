"""The page's modules: which there are, and one module made of several."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from posixpath import dirname, join, normpath

from ncodec.web import ROOM

PAGE = "index.html"
KERNEL = "ncodec.wasm"
MAIN = "player.js"  # what the page runs, in its own thread
THREADS = ("worker.js", "worklet.js")  # what it starts in others
_IMPORT = re.compile(
    r"^(?P<verb>import|export)\b(?:(?P<names>[^\"';]*?)\bfrom)?\s*\"(?P<path>[^\"\n]+)\";?", re.M
)
_EXPORT = re.compile(
    r"^export\s+(?P<kept>(?:async\s+)?(?:function\b\s*\*?|class|const)\s+(?P<name>[\w$]+))", re.M
)
_UNKNOWN = re.compile(r"^(?:export|import)\b(?!\().*", re.M)
_NAME = re.compile(r"(?P<name>[\w$]+)(?:\s+as\s+(?P<own>[\w$]+))?")


@dataclass(frozen=True, slots=True)
class Module:
    """A module of JavaScript, of a file of that name from the room's folder on."""

    name: str
    text: str

    def path_of(self, found: re.Match[str]) -> str:
        """Return the name of the module that a statement is about.

        Raises ValueError for one that is no file of the folder.
        """
        target = normpath(join(dirname(self.name), found["path"]))
        if found["path"][:2] not in ("./", "..") or target.startswith("../"):
            raise ValueError(f"{self.name}: imports {found['path']!r}, which is no file beside it")
        return target

    @property
    def imports(self) -> list[str]:
        """Names of the modules that it needs."""
        return [self.path_of(found) for found in _IMPORT.finditer(self.text)]


def entries(folder: Path = ROOM) -> list[str]:
    """Return the modules that a page starts, its own first."""
    return [MAIN, *(name for name in THREADS if (folder / name).exists())]


def load_modules(names: Sequence[str], folder: Path = ROOM) -> list[Module]:
    """Return modules and all that they import, none before those that it needs itself.

    Raises ValueError for an import that is not of a file of the folder, or that leads back to where
    it started.
    """
    found: dict[str, Module] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = Module(name, (folder / name).read_text("utf-8"))
            waiting += found[name].imports
    order = TopologicalSorter({name: sorted(found[name].imports) for name in sorted(found)})
    return [found[name] for name in order.static_order()]


def bundled(name: str, folder: Path = ROOM) -> str:
    """Return one module that does what a module and all that it imports do.

    Those that it imports become functions, each called once, that return what they export.
    Statements of import and export must start a line, and be of the kinds that the player has: no
    defaults, no exported variables that change. Raises ValueError for others.
    """
    modules = load_modules([name], folder)
    places = {module.name: f"$module{number}" for number, module in enumerate(modules)}
    texts = []
    for module in modules:
        text, exports = _unlinked(module, places)
        if module.name != name:
            result = f"return {{ {', '.join(exports)} }};"
            text = f"const {places[module.name]} = (() => {{\n{text}\n{result}\n}})();"
        texts.append(f"// {module.name}\n{text}")
    return "\n".join(texts)


def _unlinked(module: Module, places: dict[str, str]) -> tuple[str, list[str]]:
    """Return a module's text without imports and exports, and what it exports, as properties."""
    exports: list[str] = []

    def link(found: re.Match[str]) -> str:
        place = places[module.path_of(found)]
        names = (found["names"] or "").strip()
        pairs = [(pair["name"], pair["own"] or pair["name"]) for pair in _NAME.finditer(names)]
        match found["verb"], names[:1]:
            case "import", "":
                return ""
            case "import", "{":
                return (
                    f"const {{ {', '.join(f'{name}: {own}' for name, own in pairs)} }} = {place};"
                )
            case "import", "*":
                return f"const {names.split()[-1]} = {place};"
            case "export", "{":
                exports.extend(f"{own}: {place}.{name}" for name, own in pairs)
            case "export", "*":
                exports.append(f"...{place}")
            case _:
                raise ValueError(f"{module.name}: {found[0]!r} cannot be bundled")
        return ""

    def keep(found: re.Match[str]) -> str:
        exports.append(found["name"])
        return found["kept"]

    text = _EXPORT.sub(keep, _IMPORT.sub(link, module.text))
    if (left := _UNKNOWN.search(text)) is not None:
        raise ValueError(f"{module.name}: {left[0]!r} cannot be bundled")
    return text, exports
