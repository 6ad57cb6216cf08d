"""From an error to one line on stderr and an exit code. Nothing else in the commands does that."""

import contextlib
import os
import sys
from collections.abc import Iterable
from typing import Any, TextIO, TypeGuard

import click

from ncodec.errors import NcodecError, OutputExists
from ncodec.formats.atomic_files import OUTPUT_ERRORS

EXIT_OK = 0
EXIT_FAILED = 1  # some input failed
EXIT_USAGE = 2  # the command line makes no sense
EXIT_CONCEALED = 3  # all was made, but of damaged input
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
        _forget(sys.stdout)
        return EXIT_CLOSED_PIPE
    if isinstance(error, KeyboardInterrupt):
        tell("ncodec: interrupted")
        return EXIT_INTERRUPTED
    if isinstance(error, OSError) and error.filename is None and error.errno in OUTPUT_ERRORS:
        _forget(sys.stdout)
        error = NcodecError(f"standard output: cannot be written: {error.strerror}")
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
    tell(f"ncodec: error: {text}")


def warn(text: str) -> None:
    """Print what the user must know of a file that was made nevertheless."""
    tell(f"ncodec: warning: {text}")


def tell(text: str) -> None:
    """Print a message; if that is not possible, do nothing."""
    with contextlib.suppress(OSError):
        click.echo(text, err=True)


def finish_streams(code: int) -> int:
    """Write what standard output and error still hold; return the exit code, given one so far."""
    try:
        if sys.stdout is not None:  # pyright: ignore[reportUnnecessaryComparison] # closed
            sys.stdout.flush()
    except (OSError, ValueError) as error:
        if code == EXIT_OK and isinstance(error, OSError):
            code = report(error)
        _forget(sys.stdout)
    try:
        if sys.stderr is not None:  # pyright: ignore[reportUnnecessaryComparison] # closed
            sys.stderr.flush()
    except (OSError, ValueError):
        _forget(sys.stderr)
    return code


def overall_exit_code(codes: Iterable[int], n_inputs: int) -> int:
    """Return the exit code of a command, given those of its inputs.

    That of a bad command line only if it was so for every input: else something was done. That of
    concealed damage only if nothing worse happened.
    """
    failed = [code for code in codes if code != EXIT_OK]
    if failed and set(failed) == {EXIT_CONCEALED}:
        return EXIT_CONCEALED
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


def _forget(stream: TextIO | Any) -> None:
    """Keep the interpreter from complaining about a stream once more when it ends."""
    try:
        handle = os.open(os.devnull, os.O_WRONLY)
        os.dup2(handle, stream.fileno())
        os.close(handle)
    except (AttributeError, OSError, ValueError):  # none, or not one of the system's
        pass
