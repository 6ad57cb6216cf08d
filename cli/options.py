"""Arguments and options that several commands share."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

INSPECT_SCHEMA = "ncodec.inspect/1"
MODELS_SCHEMA = "ncodec.models/1"

F = TypeVar("F", bound=Callable[..., Any])
Decorator = Callable[[F], F]


def inputs_argument() -> Decorator[Any]:
    """One input or more; `-` is standard input."""
    return click.argument(
        "inputs", nargs=-1, required=True, metavar="INPUT...",
        type=click.Path(allow_dash=True, readable=False),  # one bad input must not stop the others
    )  # fmt: skip


def output_option(made: str) -> Decorator[Any]:
    """Where to put what is `made`."""
    return click.option(
        "-o", "--output", metavar="OUT", type=click.Path(allow_dash=True),
        help=f"Name of the {made}; a folder for several inputs, if it ends in / or is there "
        "already; - for standard output.",
    )  # fmt: skip


def force_option() -> Decorator[Any]:
    """Allow overwriting."""
    return click.option("-f", "--force", is_flag=True, help="Overwrite files that exist.")


def quiet_option() -> Decorator[Any]:
    """Print less."""
    return click.option(
        "-q", "--quiet", is_flag=True, help="No progress and no summary; only warnings and errors."
    )


def json_option(schema: str) -> Decorator[Any]:
    """Print for programs."""
    return click.option(
        "--json", "as_json", is_flag=True, help=f"Print one JSON object, schema {schema}."
    )
