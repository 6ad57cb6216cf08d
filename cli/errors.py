"""From an error to one line on stderr and an exit code. Nothing else in the commands does that."""

import os
import sys
from collections.abc import Iterable
from typing import TypeGuard

import click

from ncodec.errors import NcodecError, OutputExists

EXIT_OK = 0
EXIT_FAILED = 1  # some input failed
EXIT_USAGE = 2  # the command line makes no sense
EXIT_INTERRUPTED = 130  # as shells count it: 128 + SIGINT
EXIT_CLOSED_PIPE = 141  # 128 + SIGPIPE

Expected = NcodecError | OSError | MemoryError | KeyboardInterrupt
"""Errors that are about the user's input or machine rather than a fault in ncodec."""


def is_expected(error: BaseException) -> TypeGuard[Expected]:
    """Whether an error is one that `report` can put into words."""
    return isinstance(error, Expected)


def report(error: Expected) -> int:
    """Print the line for an error, and return the exit code that it calls for."""
    if isinstance(error, BrokenPipeError):
        _forget_stdout()
        return EXIT_CLOSED_PIPE
    if isinstance(error, KeyboardInterrupt):
        click.echo("ncodec: interrupted", err=True)
        return EXIT_INTERRUPTED
    complain(_text(error))
    return error.exit_code if isinstance(error, NcodecError) else EXIT_FAILED


def report_usage(error: click.ClickException) -> int:
    """Print the line for what click does not accept, and return the exit code."""
    text = " ".join(error.format_message().split()).rstrip(".")
    context = error.ctx if isinstance(error, click.UsageError) else None
    hint = f"; see '{context.command_path} --help'" if context else ""
    complain(text[:1].lower() + text[1:] + hint)
    return error.exit_code


def complain(text: str) -> None:
    """Print an error."""
    click.echo(f"ncodec: error: {text}", err=True)


def warn(text: str) -> None:
    """Print what the user must know of a file that was made nevertheless."""
    click.echo(f"ncodec: warning: {text}", err=True)


def overall_exit_code(codes: Iterable[int], n_inputs: int) -> int:
    """Return the exit code of a command, given those of the inputs that failed.

    That of a bad command line only if it was so for every input: else something was done.
    """
    failed = list(codes)
    if failed and len(failed) == n_inputs and set(failed) == {EXIT_USAGE}:
        return EXIT_USAGE
    return EXIT_FAILED if failed else EXIT_OK


def _text(error: NcodecError | OSError | MemoryError) -> str:
    if isinstance(error, OutputExists):
        return f"{error}; -f replaces it"
    if isinstance(error, NcodecError):
        return " ".join(str(error).split())
    if isinstance(error, MemoryError):
        return "not enough memory"
    why = error.strerror or str(error)
    filename: object = error.filename
    return f"{os.fsdecode(filename)}: {why}" if isinstance(filename, str | bytes) else why


def _forget_stdout() -> None:
    """Keep the interpreter from complaining about the closed pipe once more when it ends."""
    try:
        handle = os.open(os.devnull, os.O_WRONLY)
        os.dup2(handle, sys.stdout.fileno())
        os.close(handle)
    except (AttributeError, OSError, ValueError):  # no stdout, or not one of the system's
        pass
