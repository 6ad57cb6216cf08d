"""What all commands share: help, errors, exit codes."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import click
import pytest
from ran import Run

import ncodec
from ncodec.cli import errors, inputs
from ncodec.cli.main import COMMANDS, main
from ncodec.cli.progress import clock
from ncodec.errors import AudioError, OutputExists, UsageError
from ncodec.native import chosen_path


@pytest.mark.quick
def test_version(run: Run) -> None:
    ran = run("--version")
    path = chosen_path()
    kernel = f"kernel {path}" if path else "without the kernel: slower"
    assert (ran.code, ran.out, ran.err) == (0, f"ncodec {ncodec.__version__}, {kernel}\n", "")


@pytest.mark.parametrize("option", ["-h", "--help"])
@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_has_an_example(run: Run, command: str, option: str) -> None:
    ran = run(*command.split(), option)
    assert (ran.code, ran.err) == (0, "")
    assert f"ncodec {command}".strip() in ran.out.split("Example")[1]


@pytest.mark.quick
def test_help_lists_all_commands(run: Run) -> None:
    assert [name for name in COMMANDS if f"\n  {name} " in run("--help").out] == list(COMMANDS)


def test_no_command_shows_the_help_and_exits_with_2(run: Run) -> None:
    ran = run()
    assert (ran.code, ran.raw) == (2, b"")
    assert ran.err.startswith("Usage: ncodec [OPTIONS] ")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["encdoe"], "no such command 'encdoe'"),
        (["encode"], "missing argument 'INPUT...'; see 'ncodec encode --help'"),
        (["decode", "--nosuch"], "no such option '--nosuch'"),
        (["verify"], "missing argument 'INPUT...'; see 'ncodec verify --help'"),
        (["inspect", "a", "b"], "got unexpected extra argument (b); see 'ncodec inspect --help'"),
    ],
)
def test_bad_command_lines_are_one_line(run: Run, args: list[str], said: str) -> None:
    ran = run(*args)
    assert (ran.code, ran.raw) == (2, b"")
    assert ran.err.startswith(f"ncodec: error: {said}")
    assert ran.err.count("\n") == 1


def raising(error: BaseException) -> Callable[..., NoReturn]:
    def fail(*_: object, **__: object) -> NoReturn:
        raise error

    return fail


@pytest.mark.quick
@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (AudioError("a.wav: is bad"), 1, "ncodec: error: a.wav: is bad\n"),
        (UsageError("no"), 2, "ncodec: error: no\n"),
        (
            OutputExists("a: exists already"),
            1,
            "ncodec: error: a: exists already; -f replaces it\n",
        ),
        (OSError(errno.ENOSPC, "No space left", "a"), 1, "ncodec: error: a: No space left\n"),
        (OSError(errno.EIO, "I/O error"), 1, "ncodec: error: I/O error\n"),
        (OSError("odd"), 1, "ncodec: error: odd\n"),
        (MemoryError(), 1, "ncodec: error: not enough memory\n"),
        (KeyboardInterrupt(), 130, "ncodec: interrupted\n"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 141, ""),
    ],
)
def test_errors_become_a_line_and_an_exit_code(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, said: str
) -> None:
    from ncodec.bitstream import inspect as inspection

    monkeypatch.setattr(inspection, "inspect", raising(error))
    Path("song.ncx").write_bytes(b"")
    ran = run("inspect", "song.ncx")
    assert (ran.code, ran.err) == (code, said)


def test_faults_of_ours_are_not_hidden(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from ncodec.bitstream import inspect as inspection

    monkeypatch.setattr(inspection, "inspect", raising(ZeroDivisionError()))
    Path("song.ncx").write_bytes(b"")
    with pytest.raises(ZeroDivisionError):
        run("inspect", "song.ncx")


@pytest.mark.parametrize(
    ("codes", "n_inputs", "overall"),
    [([], 3, 0), ([1], 3, 1), ([2], 3, 1), ([2, 2], 2, 2), ([1, 2], 2, 1), ([2], 1, 2)],
)
def test_overall_exit_code(codes: list[int], n_inputs: int, overall: int) -> None:
    assert errors.overall_exit_code(codes, n_inputs) == overall


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00.0"), (59.96, "1:00.0"), (119.8, "1:59.8"), (3599.96, "1:00:00.0"),
     (36061.25, "10:01:01.2")],
)  # fmt: skip
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_names_without_a_suffix_and_with_dots() -> None:
    for name in ("song", "take.1.wav", ".hidden"):
        Path(name).touch()
    jobs = inputs.plan_jobs(["song", "take.1.wav", ".hidden"], None, ".ncx", overwrite=False)
    assert [job.target for job in jobs] == ["song.ncx", "take.1.ncx", ".hidden.ncx"]
    assert [job.problem for job in jobs] == [None] * 3


def test_every_command_is_a_command_of_its_own_module() -> None:
    context = click.Context(main)
    for name in COMMANDS:
        command = main.get_command(context, name)
        assert command is not None
        assert command.name == name
