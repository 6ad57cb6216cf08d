"""Which input becomes which output, and one after the other."""

import contextlib
import errno
import functools
import io
import os
import stat
import sys
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import click

from ncodec.cli.errors import EXIT_OK, is_expected, overall_exit_code, report
from ncodec.errors import AudioError, BadSignature, NcodecError, OutputExists, UsageError
from ncodec.formats.atomic_files import atomic_output
from ncodec.formats.ecdc import MAGIC as ECDC_MAGIC
from ncodec.formats.ncx import SIGNATURE
from ncodec.formats.streams import Replay, View

STDIO = "-"
_AUDIO_STARTS = (b"RIFF", b"RF64", b"BW64", b"riff", b"fLaC", b"OggS", b"FORM", b"caff", b"ID3",
                 b".snd", b"\xff\xfb", b"\xff\xf3")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Job:
    """An input, its output, and why that cannot be done, if so much is known beforehand."""

    source: str
    target: str
    problem: NcodecError | None = None

    @property
    def title(self) -> str:
        """What the user sees of it."""
        return f"{source_name(self.source)} -> {target_name(self.target)}"


def source_name(source: str) -> str:
    """Return what messages call an input."""
    return "standard input" if source == STDIO else source


def target_name(target: str) -> str:
    """Return what messages call an output."""
    return "standard output" if target == STDIO else target


def plan_jobs(
    sources: Sequence[str], output: str | None, suffix: str, *, overwrite: bool
) -> list[Job]:
    """Choose an output for every input.

    output  a file, a folder, `-`, or None: next to the input, its suffix replaced by `suffix`

    Raises UsageError for combinations that make no sense. Makes the folder if it is not there.
    """
    folder = _folder(sources, output)
    if STDIO in sources and (len(sources) > 1 or folder is not None):
        raise UsageError("standard input has no name: give it alone, with a file's name for -o")
    if output == STDIO and len(sources) > 1:
        raise UsageError("standard output takes one input, several are given")
    if output == STDIO or (output is None and STDIO in sources):
        binary_stdout()  # refuses a terminal, before anything is read
    identities = {_identity(source): source for source in sources}
    taken: dict[str, str] = {}
    jobs: list[Job] = []
    for source in sources:
        if source != STDIO and not Path(source).name:  # such as / or nothing at all
            jobs.append(Job(source, source, NcodecError(f"{source or repr(source)}: no file")))
            continue
        if folder is not None:
            target = str(folder / Path(source).with_suffix(suffix).name)
        elif output is not None:
            target = output
        elif source == STDIO:
            target = STDIO
        else:
            target = str(Path(source).with_suffix(suffix))
        problem = _source_problem(source)
        if target != STDIO and problem is None:
            problem = _target_problem(source, target, identities, taken, overwrite=overwrite)
        if problem is None:
            taken[os.path.realpath(target)] = source
        jobs.append(Job(source, target, problem))
    if folder is not None and taken:
        folder.mkdir(parents=True, exist_ok=True)
    return jobs


def _folder(sources: Sequence[str], output: str | None) -> Path | None:
    if output is None or output == STDIO:
        return None
    if not output:
        raise UsageError("-o names nothing")
    path = Path(output)
    if len(sources) == 1 and not output.endswith(("/", os.sep)) and not path.is_dir():
        if not path.parent.is_dir():
            raise UsageError(f"{path.parent}: no such folder")
        return None
    if path.exists() and not path.is_dir():
        raise UsageError(f"{output}: is not a folder, and several outputs need one")
    return path


def _identity(path: str) -> tuple[int, int] | None:
    """What two names of one file share; None if there is no such file, or it is not a file."""
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None


def _source_problem(source: str) -> NcodecError | None:
    if source == STDIO:
        return None
    try:
        mode = Path(source).stat().st_mode
    except OSError as error:
        if error.errno == errno.ENOENT:
            return NcodecError(f"{source}: no such file")
        return NcodecError(f"{source}: cannot be read: {error.strerror}")
    if stat.S_ISDIR(mode):
        return NcodecError(f"{source}: is a folder; give the files in it")
    return None


def _target_problem(
    source: str,
    target: str,
    identities: dict[tuple[int, int] | None, str],
    taken: dict[str, str],
    *,
    overwrite: bool,
) -> NcodecError | None:
    identity = _identity(target)
    if identity is not None and identity in identities:
        if identity == _identity(source):
            is_ncx = first_bytes(source).startswith(SIGNATURE[:4])
            what = "" if is_ncx else "not an .ncx file; "
            return NcodecError(f"{source}: {what}input and output are the same file")
        return NcodecError(f"{source}: its output would replace the input {identities[identity]}")
    if (first := taken.get(os.path.realpath(target))) is not None:
        return NcodecError(f"{source}: {target} is the output of {first} already; use -o")
    if identity is not None and not overwrite:
        return OutputExists(f"{target}: exists already")
    return None


def run_jobs(jobs: Sequence[Job], start: Callable[[], Callable[[Job], int | None]]) -> None:
    """Do what can be done, a line on stderr for each input that cannot, and exit.

    start  called once, before the first job that seems possible: returns what to do with a job,
           which may return an exit code other than 0
    """
    action: Callable[[Job], int | None] | None = None
    codes: list[int] = []
    for job in jobs:
        if job.problem is not None:
            codes.append(report(job.problem))
            continue
        if action is None:
            action = start()
        try:
            codes.append(action(job) or EXIT_OK)
        except Exception as error:
            if not is_expected(error) or isinstance(error, BrokenPipeError):
                raise
            codes.append(report(error))
    click.get_current_context().exit(overall_exit_code(codes, len(jobs)))


def binary_stdin() -> BinaryIO:
    """Return standard input as bytes."""
    if sys.stdin is None:  # pyright: ignore[reportUnnecessaryComparison] # closed by the caller
        raise UsageError("standard input is closed")
    return sys.stdin.buffer


def binary_stdout() -> BinaryIO:
    """Return standard output as bytes. Raises UsageError for a terminal."""
    if sys.stdout is None:  # pyright: ignore[reportUnnecessaryComparison] # closed by the caller
        raise UsageError("standard output is closed")
    if sys.stdout.isatty():
        raise UsageError("standard output is a terminal: redirect it, or name a file with -o")
    return _buffered(sys.stdout.buffer)


@functools.cache
def _buffered(stream: BinaryIO) -> BinaryIO:
    """Return a stream that writes all it is given, which one without a buffer need not do."""
    if isinstance(stream, io.RawIOBase):
        descriptor = os.dup(stream.fileno())
        return io.BufferedWriter(io.FileIO(descriptor, "w"))
    return stream


@contextlib.contextmanager
def open_output(target: str, *, overwrite: bool) -> Generator[BinaryIO, None, None]:
    """Open an output that appears whole or not at all, or standard output."""
    if target == STDIO:
        stream = binary_stdout()
        yield stream
        stream.flush()
        return
    with atomic_output(target, overwrite) as partial, partial.open("wb") as file:
        yield file


@contextlib.contextmanager
def open_ncx(source: str) -> Generator[BinaryIO, None, None]:
    """Open an input that must be an .ncx file. Raises BadSignature if it is audio, or .ecdc."""
    with open_known(source) as (stream, is_ecdc):
        if is_ecdc:
            name = source_name(source)
            raise BadSignature(f"{name}: is an .ecdc file; ncodec repack makes an .ncx file of it")
        yield stream


@contextlib.contextmanager
def open_input(source: str) -> Generator[BinaryIO, None, None]:
    """Open an input of any kind."""
    if source == STDIO:
        yield binary_stdin()
        return
    with Path(source).open("rb") as file:
        yield file


@contextlib.contextmanager
def open_codes(source: str) -> Generator[BinaryIO, None, None]:
    """Open an .ncx or .ecdc file; the latter as the .ncx file, in memory, that it amounts to."""
    with open_known(source) as (stream, is_ecdc):
        if is_ecdc:
            from ncodec.bitstream.ecdc.convert import ncx_of_ecdc

            yield ncx_of_ecdc(stream, source_name(source))
        else:
            yield stream


@contextlib.contextmanager
def open_known(source: str) -> Generator[tuple[BinaryIO, bool], None, None]:
    """Open an .ncx or .ecdc file, also from a pipe, and tell whether it is the latter.

    Raises BadSignature if it is audio.
    """
    with open_input(source) as stream:
        again = View(stream) if stream.seekable() else Replay(stream)
        start = again.head(len(ECDC_MAGIC))
        again.rewind()
        if start.startswith(_AUDIO_STARTS):
            name = source_name(source)
            raise BadSignature(f"{name}: is audio, not an .ncx file; ncodec encode makes one of it")
        yield cast("BinaryIO", again), start == ECDC_MAGIC


def refuse_ncx(source: str) -> None:
    """Raise AudioError for an input that must be audio but is an .ncx file."""
    for kind, start in ((".ncx", SIGNATURE[:4]), (".ecdc", ECDC_MAGIC)):
        if first_bytes(source).startswith(start):
            name = source_name(source)
            raise AudioError(
                f"{name}: is an {kind} file, not audio; ncodec decode makes audio of it"
            )


def first_bytes(source: str) -> bytes:
    """Return how an input starts without using that up; nothing where this cannot be done."""
    if source == STDIO:
        stream = binary_stdin()
        peek: Callable[[int], bytes] | None = getattr(stream, "peek", None)
        if peek is not None:
            return peek(16)[:16]
        start = stream.tell()  # one that cannot peek is in memory
        found = stream.read(16)
        stream.seek(start)
        return found
    if not Path(source).is_file():  # a pipe, say
        return b""
    try:
        with Path(source).open("rb") as file:
            return file.read(16)
    except OSError:  # whoever reads it will say so
        return b""
