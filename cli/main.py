"""The command `ncodec`: its subcommands, imported on demand, and what becomes of their errors."""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

import click

import ncodec
from ncodec.cli.errors import finish_streams, is_expected, report, report_usage

if TYPE_CHECKING:
    from collections.abc import Callable

COMMANDS = (
    "encode", "decode", "play", "web", "repack", "batch", "codes", "tags", "repair", "inspect",
    "verify", "evaluate", "models", "train", "train-entropy",
)  # fmt: skip


class LazyGroup(click.Group):
    """Imports a command when it is asked for; its errors become one line and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command of that name."""
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        command: click.Command = getattr(import_module(f"ncodec.cli.{name}"), name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; see `main` for the exit codes."""
        try:
            return super().invoke(ctx)
        except BaseException as error:
            if not is_expected(error):
                raise
            code = report(error)
        return ctx.exit(code)

    def main(self, *args: Any, **extra: Any) -> NoReturn:
        """Run the command line and exit.

        0: done. 1: some input failed. 2: the command line makes no sense. 3: damage was concealed.
        130: interrupted. 141: whoever read the output stopped.
        """
        reconfigure: Callable[..., None] | None = getattr(sys.stdout, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")  # a file's name or tag may be anything
        extra["standalone_mode"] = False
        try:
            code = super().main(*args, **extra)
        except click.ClickException as error:
            code = report_usage(error)
        except click.Abort:
            code = report(KeyboardInterrupt())
        except OSError as error:  # of printing the help, say
            code = report(error)
        sys.exit(finish_streams(code))


def _print_version(ctx: click.Context, _: click.Parameter, is_asked: bool) -> None:
    if is_asked and not ctx.resilient_parsing:
        from ncodec import native

        path = native.chosen_path()
        kernel = f"kernel {path}" if path else "without the kernel: slower"
        click.echo(f"ncodec {ncodec.__version__}, {kernel}")
        ctx.exit()


@click.group(
    "ncodec",
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and the kernel in use, and exit.",
)
@click.pass_context
def main(ctx: click.Context) -> None:
    """Compress audio with a neural codec into .ncx files, and decode it.

    \b
    Examples:
      ncodec encode song.flac              # makes song.ncx
      ncodec decode song.ncx               # makes song.wav
      ncodec inspect song.ncx

    Exit codes: 0 done, 1 some input failed, 2 bad command line, 3 done but with damaged input,
    130 interrupted, 141 the reader of the output closed the pipe.
    """  # noqa: D301
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        ctx.exit(2)
