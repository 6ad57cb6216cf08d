"""docs/CLI.md and the commands say the same."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from ran import Run

from ncodec.cli import errors
from ncodec.cli.main import COMMANDS, main

MakeNcx = Callable[..., Path]
TEXT = (Path(__file__).parents[2] / "docs" / "CLI.md").read_text()
SECTIONS = {
    part.split("\n", 1)[0]: part.split("\n", 1)[1] for part in re.split(r"^## ", TEXT, flags=re.M)
}


def first_cells(section: str) -> list[str]:
    """The first column of all tables, without their titles."""
    rows = re.findall(r"^\| *(.*?) *\|", section, flags=re.M)
    return [cell for cell in rows if cell.startswith("`") or cell.isdigit()]


def command_of(name: str) -> click.Command:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    return command


def with_subcommands(name: str, command: click.Command) -> dict[str, click.Command]:
    inner = command.commands if isinstance(command, click.Group) else {}
    found = {name: command}
    for inner_name, inner_command in inner.items():
        found |= with_subcommands(f"{name} {inner_name}", inner_command)
    return found


ALL = {
    path: command
    for name in COMMANDS
    for path, command in with_subcommands(name, command_of(name)).items()
}


def arguments_of(command: click.Command) -> list[str]:
    arguments = [p for p in command.params if isinstance(p, click.Argument)]
    return [argument.make_metavar(click.Context(main)) for argument in arguments]


def title_of(name: str) -> str:
    return " ".join(["ncodec", name, *arguments_of(ALL[name])])


def test_every_command_has_a_section() -> None:
    titles = [title for title in SECTIONS if title.startswith("ncodec ")]
    assert titles == [title_of(name) for name in ALL]


@pytest.mark.parametrize("name", ALL)
def test_options(name: str) -> None:
    section = SECTIONS[title_of(name)]
    documented = [tuple(re.findall(r"`(-.*?)`", cell)) for cell in first_cells(section)]
    assert documented == [tuple(p.opts) for p in ALL[name].params if isinstance(p, click.Option)]


@pytest.mark.parametrize("name", ALL)
def test_every_command_has_help_and_an_example(name: str) -> None:
    text = ALL[name].help or ""
    assert f"ncodec {name}" in text


@pytest.mark.parametrize("name", ALL)
def test_choices(name: str) -> None:
    for option in ALL[name].params:
        if isinstance(option.type, click.Choice):
            for choice in option.type.choices:
                assert f"`{choice}`" in SECTIONS[title_of(name)], option.name


def test_exit_codes() -> None:
    ours = {code for name, code in vars(errors).items() if name.startswith("EXIT_")}
    assert {int(cell) for cell in first_cells(TEXT) if cell.isdigit()} == ours


def keys(value: object, place: str = "") -> set[str]:
    """All places of a JSON value, as the tables write them."""
    if isinstance(value, dict):
        return {key for name, inner in value.items() for key in keys(inner, f"{place}.{name}")}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return {key for inner in value for key in keys(inner, f"{place}[]")}
    return set() if value == [] else {place.removeprefix(".")}


def documented_keys(title: str) -> set[str]:
    return {cell.strip("`") for cell in first_cells(SECTIONS[title])}


def test_keys_of_inspect(run: Run, make_ncx: MakeNcx) -> None:
    whole = make_ncx("song.ncx", n_samples=200_000, title="Hum").read_bytes()
    Path("bad.ncx").write_bytes(whole[:-20])
    found: set[str] = set()
    assert run("repack", "--start", "1", "song.ncx", "-o", "cut.ncx").code == 0
    Path("cover.png").write_bytes(b"\x89PNG")
    assert run("tags", "--picture", "cover.png", "cut.ncx").code == 0
    for name in ("song.ncx", "bad.ncx", "cut.ncx"):
        found |= keys(json.loads(run("inspect", "--json", "--packets", "--bytes", name).out))
    assert found == documented_keys("JSON of inspect, schema ncodec.inspect/1")


def test_keys_of_models(run: Run) -> None:
    found = keys(json.loads(run("models", "--json").out))
    of_a_language_model = {  # none is installed
        f"models[].ecdc_lm.{key.split('.')[-1]}" for key in found if ".entropy_model." in key
    }
    assert found | of_a_language_model == documented_keys("JSON of models, schema ncodec.models/1")


def test_key_types(run: Run, make_ncx: MakeNcx) -> None:
    make_ncx("song.ncx", title="Hum")
    got = json.loads(run("inspect", "--json", "--packets", "--bytes", "song.ncx").out)
    types = {"string": str, "integer": int, "number": (int, float), "boolean": bool}
    for line in SECTIONS["JSON of inspect, schema ncodec.inspect/1"].splitlines():
        if not line.startswith("| `"):
            continue
        name, kind = (cell.strip(" `") for cell in line.split("|")[1:3])
        for value in values(got, name.split(".")):
            allowed = [types[part] for part in kind.split(" or ") if part != "null"]
            assert isinstance(value, allowed[0]) or (value is None and "null" in kind), name


def values(value: object, path: list[str]) -> list[object]:
    if not path:
        return [value]
    assert isinstance(value, dict)
    inner = value[path[0].removesuffix("[]")]
    many = inner if path[0].endswith("[]") else [inner]
    return [found for one in many for found in values(one, path[1:])]


def test_nothing_is_said_of_options_that_are_not_there() -> None:
    known = {opt for command in ALL.values() for p in command.params for opt in p.opts}
    known |= {"-h", "--help", "--version", "-"}
    assert set(re.findall(r"`(--?[a-z][a-z-]*)`", TEXT)) <= known
