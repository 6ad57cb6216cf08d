"""`ncodec repack`: other files of the same codes."""

import contextlib
import io
import os
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from ncodec.cli.errors import warn
from ncodec.cli.inputs import (
    STDIO,
    Job,
    open_input,
    open_known,
    open_output,
    plan_jobs,
    run_jobs,
    source_name,
    target_name,
)
from ncodec.cli.options import (
    check_codebooks,
    choose_format,
    entropy_option,
    force_option,
    inputs_argument,
    output_option,
    quiet_option,
    segment_options,
    to_option,
)
from ncodec.cli.progress import clock, say
from ncodec.errors import UsageError
from ncodec.formats.ncx import Reader

if TYPE_CHECKING:
    from ncodec.bitstream.repack import Repacked, Wanted


_SAME = "the same codes"


@click.command()
@inputs_argument()
@output_option(".ncx or .ecdc file")
@click.option(
    "-b", "--bandwidth", "bandwidth_kbps", type=float, metavar="KBPS",
    help="Keep the first codebooks, of this nominal kbit/s of each code stream.",
)  # fmt: skip
@click.option("--n-q", type=int, metavar="N", help="Keep the first N codebooks.")
@segment_options()
@click.option("--join", is_flag=True, help="Make one file of all inputs, in their order.")
@entropy_option()
@to_option()
@force_option()
@quiet_option()
def repack(
    inputs: tuple[str, ...], output: str | None, bandwidth_kbps: float | None, n_q: int | None,
    start: float, end: float | None, join: bool, to: str | None, entropy: str | None, force: bool,
    quiet: bool,
) -> None:  # fmt: skip
    """Write the codes of files to new files, without decoding to audio and without loss.

    Changes the entropy coder of an .ncx file, drops codebooks to save bits, cuts a segment out, or
    joins several files of one model without a gap. What is cut or joined decodes to the same audio
    as before: the frames that a decoder needs before and after a cut are kept, but not played.

    Also converts .ecdc files to .ncx and back. An .ecdc file holds codes of EnCodec's two models in
    a single stream, and neither tags nor the source's sample rate; a message says what is left out.
    .ecdc files with a language model can be read only where floating-point results are the same as
    where they were written.

    \b
    Examples:
      ncodec repack song.ecdc                     # makes song.ncx
      ncodec repack song.ncx -o song.ecdc
      ncodec repack --entropy packed song.ncx -o plain.ncx
      ncodec repack -b 3 --start 1:00 --end 1:30 song.ncx -o sample.ncx
      ncodec repack --join one.ncx two.ncx three.ncx -o all.ncx
    """  # noqa: D301
    made = choose_format(to, output, entropy)
    check_codebooks(bandwidth_kbps, n_q)
    is_segment = start != 0 or end is not None
    if made == "ecdc" and (is_segment or join):
        raise UsageError("--start, --end and --join: an .ecdc file cannot be cut or joined")
    if join:
        jobs = _plan_join(inputs, output, overwrite=force)
    else:
        jobs = plan_jobs(inputs, output, f".{made}", overwrite=force)

    def start_work() -> Callable[[Job], None]:
        from ncodec.bitstream.repack import Wanted

        wanted = Wanted(n_q, bandwidth_kbps, start, end, entropy)

        def repack_one(job: Job) -> None:
            sources = inputs if join else (job.source,)
            with open_output(job.target, overwrite=force) as sink, ExitStack() as stack:
                if made == "ecdc":
                    said = _to_ecdc(job, sink, wanted)
                elif is_segment or join:
                    said = _cut_or_join(sources, sink, wanted, stack)
                else:
                    said = _to_ncx(job, sink, wanted)
            say(f"{job.title}: {said}", quiet=quiet)

        return repack_one

    run_jobs(jobs, start_work)


def _plan_join(inputs: Sequence[str], output: str | None, *, overwrite: bool) -> list[Job]:
    """Return the one job, or those of the inputs that keep it from being done."""
    if not output:
        raise UsageError("--join: -o names the file that is made")
    if output != STDIO and (output.endswith(("/", os.sep)) or Path(output).is_dir()):
        raise UsageError(f"--join: {output} is a folder, -o must name a file")
    if inputs.count(STDIO) > 1:
        raise UsageError("standard input can be given once only")
    planned = [job for one in inputs for job in plan_jobs((one,), output, "", overwrite=overwrite)]
    problems = {str(job.problem): job for job in planned if job.problem is not None}
    title = f"{len(inputs)} inputs" if len(inputs) > 1 else source_name(inputs[0])
    return [*problems.values()] or [Job(title, output)]


def _to_ecdc(job: Job, sink: BinaryIO, wanted: "Wanted") -> str:
    """Make an .ecdc file; return what is said of it."""
    from ncodec.bitstream.ecdc.convert import ncx_of_ecdc, ncx_to_ecdc
    from ncodec.bitstream.repack import ncx_to_ncx

    name, said = source_name(job.source), _SAME
    with open_known(job.source) as (stream, is_ecdc):
        reader = Reader(ncx_of_ecdc(stream, name) if is_ecdc else stream, name)
        if wanted.n_q is not None or wanted.bandwidth_kbps is not None:
            held = io.BytesIO()
            kept = ncx_to_ncx(reader, held, replace(wanted, entropy="packed"))
            held.seek(0)
            reader, said = Reader(held, name), _summary(kept, checked=not is_ecdc)
        left_out = ncx_to_ecdc(reader, sink, lm=wanted.entropy == "lm").left_out
        if left_out:
            warn(f"{target_name(job.target)}: without {', '.join(left_out)}")
        if said == _SAME and not is_ecdc and reader.trailer is not None:
            said = _same(reader.trailer.codes_digest)
    return said


def _to_ncx(job: Job, sink: BinaryIO, wanted: "Wanted") -> str:
    """Make an .ncx file of all of one file, as it comes; return what is said of it."""
    from ncodec.bitstream.ecdc.convert import ecdc_to_ncx, ncx_of_ecdc
    from ncodec.bitstream.repack import ncx_to_ncx

    name = source_name(job.source)
    with open_known(job.source) as (stream, is_ecdc):
        if is_ecdc and wanted.n_q is None and wanted.bandwidth_kbps is None:
            ecdc_to_ncx(stream, name, sink, wanted.entropy)
            return _SAME
        reader = Reader(ncx_of_ecdc(stream, name) if is_ecdc else stream, name)
        return _summary(ncx_to_ncx(reader, sink, wanted), checked=not is_ecdc)


def _cut_or_join(sources: Sequence[str], sink: BinaryIO, wanted: "Wanted", stack: ExitStack) -> str:
    """Make an .ncx file of a segment of one file, or of several; return what is said of it."""
    from ncodec.bitstream.ecdc.convert import ncx_of_ecdc
    from ncodec.bitstream.repack import repack as repack_files
    from ncodec.formats.streams import can_seek, rewindable

    openers: list[Callable[[], AbstractContextManager[Reader]]] = []
    checked = True
    for source in sources:
        held: BinaryIO | None = None
        with open_known(source) as (stream, is_ecdc):
            if is_ecdc:
                held, checked = ncx_of_ecdc(stream, source_name(source)), False
            elif not can_seek(stream):
                held = stack.enter_context(rewindable(stream))
        openers.append(partial(_opened, source, held))
    return _summary(repack_files(openers, sink, wanted), checked=checked, n_files=len(sources))


@contextlib.contextmanager
def _opened(source: str, held: BinaryIO | None) -> Generator[Reader, None, None]:
    """Open an input from its start, or what is held of it."""
    with open_input(source) if held is None else contextlib.nullcontext(held) as stream:
        stream.seek(0)
        yield Reader(stream, source_name(source))


def _summary(kept: "Repacked", *, checked: bool, n_files: int = 1) -> str:
    """Say what was kept."""
    if kept.is_all:
        return _same(kept.digest, checked=checked, n_files=n_files)
    return (
        f"{kept.n_frames} of {kept.of_frames} frames, {kept.n_codebooks} of {kept.of_codebooks} "
        f"codebooks, {clock(kept.n_samples / kept.sample_rate_hz)}"
    )


def _same(digest: bytes, *, checked: bool = True, n_files: int = 1) -> str:
    whose = "the trailer" if n_files == 1 else "the trailers"
    return f"{_SAME}, digest {digest.hex()}{f', checked against {whose}' if checked else ''}"
