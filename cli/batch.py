"""`ncodec batch`: a tree of audio to a tree of .ncx files, and back."""

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import ncodec
from ncodec.batch.conversion import ENGINES
from ncodec.cli.errors import EXIT_CONCEALED, EXIT_FAILED, EXIT_OK, complain, warn
from ncodec.cli.inputs import open_output
from ncodec.cli.options import (
    audio_format_options,
    check_codebooks,
    codebooks_options,
    entropy_option,
    force_option,
    model_option,
    pictures_option,
    quiet_option,
    search_options,
)
from ncodec.cli.progress import say, speed
from ncodec.errors import UsageError, plural
from ncodec.formats.audio_files import FFMPEG_EXTRA

if TYPE_CHECKING:
    from ncodec.batch import AudioFormat, Conversion, EncodeOptions, Outcome
    from ncodec.batch.report import Totals

_OF_ENCODING = {
    "model": "-m", "bandwidth_kbps": "-b", "n_q": "--n-q", "entropy": "--entropy",
    "effort": "--effort", "quality": "--quality",
    "keep_pictures": "--no-pictures", "conceal": "--conceal",
}  # fmt: skip
_OF_DECODING = {"container": "--format", "subtype": "--subtype"}


@click.command()
@click.argument("src", metavar="SRC")
@click.argument("dst", metavar="DST")
@click.option("--decode", is_flag=True, help="Decode .ncx files to audio.")
@model_option("spectral")
@codebooks_options()
@entropy_option("ncx")
@search_options()
@pictures_option()
@click.option(
    "--conceal", is_flag=True, default=None,
    help="Take what can be read of damaged audio; such files are remarks of the report, and the "
    "exit code is 3.",
)  # fmt: skip
@click.option(
    "--gapless", is_flag=True,
    help="The files of a folder are tracks that follow each other, in the order of their names: "
    "without a step between two that sound to their ends. One worker does all of a folder.",
)  # fmt: skip
@audio_format_options(
    "With --decode, format of the audio; by default flac.",
    "With --decode, libsndfile's name of the samples.",
)
@click.option(
    "-j",
    "--jobs",
    "n_workers",
    type=click.IntRange(min=0),
    metavar="N",
    help="Worker processes, of one thread each; by default one per core. 0: this process only.",
)
@click.option(
    "--engine",
    type=click.Choice(ENGINES),
    default="local",
    show_default=True,
    help="Where the workers are: on this machine, or in a Ray cluster.",
)
@click.option(
    "--address",
    metavar="ADDR",
    help="With --engine ray, HOST:PORT of a cluster; by default $RAY_ADDRESS, or one that is "
    "started here.",
)
@click.option(
    "--gpu",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="SHARE",
    help="Share of a GPU for each worker, such as 0.25, on which the encoder networks run; by "
    "default none.",
)
@click.option(
    "--include",
    multiple=True,
    metavar="GLOB",
    help="Only files whose path or name matches, or the path or name of a folder they are in. "
    "* matches / too. May be repeated, as --exclude.",
)
@click.option(
    "--exclude", multiple=True, metavar="GLOB", help="Not files that match in the same way."
)
@click.option("--copy-other", is_flag=True, help="Copy all files of other kinds.")
@click.option(
    "--checksum", is_flag=True, help="Compare a file's content, not its time, to see changes."
)
@click.option(
    "--verify", is_flag=True, help="Decode the codes of every file before it counts as done."
)
@click.option(
    "--strict", is_flag=True, help="Exit code 1 if there is audio that cannot be read either."
)
@click.option("--dry-run", is_flag=True, help="Only print what would be done.")
@click.option("--report", "report_path", metavar="FILE", help="Write a report in JSON.")
@force_option()
@quiet_option()
def batch(
    src: str, dst: str, decode: bool, engine: str, n_workers: int | None, address: str | None,
    gpu: float, gapless: bool, verify: bool, strict: bool, dry_run: bool,
    report_path: str | None, force: bool, quiet: bool, include: tuple[str, ...],
    exclude: tuple[str, ...], copy_other: bool, checksum: bool, **options: Any,
) -> None:  # fmt: skip
    """Compress all audio in the folder SRC into .ncx files in the folder DST.

    The tree is mirrored: SRC/a/song.flac becomes DST/a/song.ncx. Files that an earlier run
    converted, and that have not changed since, are skipped; so a run that was interrupted or killed
    resumes when it is started again. Files that fail are listed at the end, and do not stop the
    others.

    SRC and DST may be URLs: s3://, gs://, memory:// and others that fsspec knows.

    \b
    Examples:
      ncodec batch music/ small/                       # 6 kbit/s per channel, on all cores
      ncodec batch --decode small/ back/ --format ogg
      ncodec batch music/ small/ --exclude '*/demos/*' --copy-other --report report.json
      ncodec batch s3://music/flac s3://music/ncx -j 4
    """  # noqa: D301
    from ncodec.audio.stderr import catch_decoders
    from ncodec.batch import Conversion, FileOptions, WorkerPool

    catch_decoders()
    if address is not None and engine != "ray":
        raise UsageError("--address is for --engine ray")
    if decode and gpu:
        raise UsageError("--gpu is for encoding")
    if decode and gapless:
        raise UsageError("--gapless is for encoding")
    conversion = Conversion(
        src, dst, _coding(decode, options),
        FileOptions(include, exclude, copy_other, checksum, verify, force, gapless),
        WorkerPool(n_workers, engine, address, gpu),
    )  # fmt: skip
    unreadable = Counter(Path(path).suffix.lower() for path in conversion.plan.unreadable)
    for suffix, count in sorted(unreadable.items()):
        warn(f"{plural(count, f'{suffix} file')}: audio that {FFMPEG_EXTRA} reads")
    if report_path is not None and not Path(report_path).absolute().parent.is_dir():
        raise UsageError(f"--report {report_path}: no such folder")
    if dry_run:
        code = _show(conversion, quiet=quiet)
    else:
        code = _Run(conversion, engine, quiet=quiet).go(report_path)
    is_lacking = strict and conversion.plan.unreadable
    click.get_current_context().exit(code or (EXIT_FAILED if is_lacking else EXIT_OK))


def _coding(decode: bool, options: dict[str, Any]) -> "EncodeOptions | AudioFormat":
    """Return how files are made. Raises UsageError for options that do not go together."""
    from ncodec.batch import AudioFormat, EncodeOptions

    for name, option in (_OF_ENCODING if decode else _OF_DECODING).items():
        if options[name] is not None:
            raise UsageError(f"{option} is for {'encoding' if decode else '--decode'}")
    if decode:
        return AudioFormat(options["container"] or "flac", options["subtype"])
    check_codebooks(options["bandwidth_kbps"], options["n_q"])
    chosen = {name: options[name] for name in _OF_ENCODING if options[name] is not None}
    return EncodeOptions(**chosen)


def _show(conversion: "Conversion", *, quiet: bool) -> int:
    """Print a plan."""
    plan = conversion.plan
    verb = "decode" if conversion.settings.decode else "encode"
    for item in plan.items:
        click.echo(f"{'copy' if item.is_copy else verb}: {item.source} -> {item.target}")
    for problem in plan.problems:
        complain(f"{problem.source}: {problem.why}")
    text = f"{plural(len(plan.items), 'file')} to do, {_size(plan.n_bytes)}"
    left = {"done before": len(plan.done), "of other kinds": plan.n_other,
            "that cannot be done": len(plan.problems)}  # fmt: skip
    counts = [f"{count} {what}" for what, count in left.items() if count]
    say(", ".join([text, *counts]), quiet=quiet)
    return EXIT_FAILED if plan.problems else EXIT_OK


class _Run:
    """A run, and what the user sees of it."""

    def __init__(self, conversion: "Conversion", engine: str, *, quiet: bool) -> None:
        from ncodec.batch.report import Totals

        self._conversion, self._engine, self._quiet = conversion, engine, quiet
        self._outcomes: list[Outcome] = []
        self._totals: Totals = Totals()
        self._started = time.perf_counter()

    def go(self, report_path: str | None) -> int:
        """Do all of it and return the exit code; when interrupted, report what was done so far."""
        try:
            self._convert()
        except BaseException as error:
            is_interrupt = isinstance(error, KeyboardInterrupt)
            if self._outcomes or is_interrupt:
                self._tell(report_path, interrupted=is_interrupt)
            raise
        self._tell(report_path, interrupted=False)
        if self._totals.n_failed:
            return EXIT_FAILED
        return EXIT_CONCEALED if self._totals.n_concealed else EXIT_OK

    def _convert(self) -> None:
        with (
            _bar(self._conversion.plan.n_bytes, quiet=self._quiet) as (advance, note),
            closing(self._conversion.outcomes(advance)) as outcomes,
        ):
            for outcome in outcomes:
                self._outcomes.append(outcome)
                self._totals.add(outcome)
                elapsed_s = time.perf_counter() - self._started
                note(f"{self._totals.seconds / 3600:.2f} h, "
                     f"{speed(self._totals.seconds, elapsed_s)}")  # fmt: skip

    def _tell(self, report_path: str | None, *, interrupted: bool) -> None:
        """List what went wrong, sum up, and write the report."""
        elapsed_s = time.perf_counter() - self._started
        for outcome in self._outcomes:
            if outcome.status == "failed":
                complain(" ".join(f"{outcome.source}: {outcome.error}".split()))
        remarked = [outcome for outcome in self._outcomes if outcome.remarks]
        if remarked and not self._quiet:
            first = f"{remarked[0].source}: {remarked[0].remarks[0]}"
            more = f", and {len(remarked) - 1} others; --report lists them" if remarked[1:] else ""
            warn(first + more)
        done = _summary(self._conversion, self._totals, elapsed_s, interrupted=interrupted)
        say(done, quiet=self._quiet)
        if report_path is not None:
            from ncodec.batch.report import as_json

            found = as_json(
                self._conversion, self._outcomes, elapsed_s, engine=self._engine,
                version=ncodec.__version__, interrupted=interrupted,
            )  # fmt: skip
            with open_output(report_path, overwrite=True) as file:
                file.write(json.dumps(found, indent=1).encode() + b"\n")


def _summary(
    conversion: "Conversion", totals: "Totals", elapsed_s: float, *, interrupted: bool
) -> str:
    from ncodec.batch.report import ratio

    parts: list[str] = []
    if totals.n_done:
        before, after = totals.n_bytes_in, totals.n_bytes_out
        small, large = (before, after) if conversion.settings.decode else (after, before)
        parts += [
            f"{plural(totals.n_done, 'file')}, {totals.seconds / 3600:.2f} h",
            f"{_size(before)} -> {_size(after)}",
            f"{ratio(large, small) or 0:.3g}:1",
            speed(totals.seconds, elapsed_s),
        ]
    counts = {
        "with damage concealed": totals.n_concealed, "copied": totals.n_copied,
        "done before": totals.n_skipped, "failed": totals.n_failed,
    }  # fmt: skip
    parts += [f"{count} {what}" for what, count in counts.items() if count]
    parts = parts or ["nothing done" if interrupted else "no files"]
    left = conversion.plan.n_other
    return ", ".join([*parts, f"{left} of other kinds left alone"] if left else parts)


@contextmanager
def _bar(
    n_bytes: int, *, quiet: bool
) -> Generator[tuple[Callable[[int], None], Callable[[str], None]], None, None]:
    """Show progress on a terminal; gives what to call with bytes done, and with what to add."""
    if quiet or not sys.stderr or not sys.stderr.isatty():
        yield lambda done: None, lambda text: None
        return
    from tqdm import tqdm

    with tqdm(total=n_bytes, unit="B", unit_scale=True, leave=False) as bar:

        def advance(done: int) -> None:
            bar.update(done)

        def note(text: str) -> None:
            bar.set_postfix_str(text, refresh=False)

        yield advance, note


def _size(n_bytes: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= size:
            return f"{n_bytes / size:.2f} {unit}"
    return f"{n_bytes} bytes"
