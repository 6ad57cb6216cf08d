"""`ncodec repair`: whole .ncx files of damaged ones."""

import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from ncodec.cli.errors import warn
from ncodec.cli.inputs import (
    STDIO,
    Job,
    open_ncx,
    open_output,
    plan_jobs,
    run_jobs,
    source_name,
)
from ncodec.cli.options import force_option, inputs_argument, output_option, quiet_option
from ncodec.cli.progress import clock, say
from ncodec.errors import plural

if TYPE_CHECKING:
    from ncodec.bitstream.repair import Examined


@click.command()
@inputs_argument()
@output_option(".ncx file")
@force_option()
@quiet_option()
def repair(inputs: tuple[str, ...], output: str | None, force: bool, quiet: bool) -> None:
    """Repair truncated or damaged .ncx files.

    Intact packets stay as they are. Silence replaces packets that are lost between others, so that
    the rest keeps its time; what is lost at the end is cut off. The index and the digest are
    rebuilt, and one damaged byte of the header is corrected. A warning for each loss says where it
    is, and how long.

    song.ncx becomes song.repaired.ncx next to it unless -o says otherwise. If nothing is wrong with
    a file, no other is written without -o, and a copy with it.

    \b
    Examples:
      ncodec repair song.ncx                      # makes song.repaired.ncx
      ncodec repair broken.ncx -o whole.ncx
    """  # noqa: D301
    jobs = plan_jobs(inputs, output, ".repaired.ncx", overwrite=force)

    def start() -> Callable[[Job], None]:
        from ncodec.bitstream.repair import examine, write_repaired
        from ncodec.formats.streams import rewindable

        def repair_one(job: Job) -> None:
            name = source_name(job.source)
            with open_ncx(job.source) as given, rewindable(given) as stream:
                found = examine(stream, name)
                if found.is_whole and output is None and job.target != STDIO:
                    say(f"{name}: nothing is wrong with it", quiet=quiet)
                    return
                with open_output(job.target, overwrite=force) as sink:
                    if found.is_whole:
                        stream.seek(0)
                        shutil.copyfileobj(stream, sink)
                    else:
                        write_repaired(stream, name, found, sink)
            if found.is_whole:
                say(f"{job.title}: nothing is wrong with it, copied", quiet=quiet)
                return
            for text in _losses(found):
                warn(text)
            header = found.header
            seconds = (header.n_samples or 0) / header.source_sample_rate_hz
            packets = plural(found.n_packets, "packet")
            say(f"{job.title}: {packets}, {clock(seconds)}", quiet=quiet)

        return repair_one

    run_jobs(jobs, start)


def _losses(found: "Examined") -> list[str]:
    """Return a line for everything that was wrong."""
    lines: list[str] = []
    said = set[str]()
    for gaps, what in (found.gaps, "of silence from"), (found.cut_off, "cut off at"):
        for gap in gaps:
            said.add(str(gap.error))
            lost = f": {gap.seconds:.1f} s {what} {clock(gap.start_s)}" if gap.seconds else ""
            lines.append(f"{gap.error}{lost}")
    return [str(one.error) for one in found.damage if str(one.error) not in said] + lines
