"""`ncodec repack`: other files of the same codes."""

from collections.abc import Callable

import click

from ncodec.cli.errors import warn
from ncodec.cli.inputs import (
    Job,
    open_known,
    open_output,
    plan_jobs,
    run_jobs,
    source_name,
    target_name,
)
from ncodec.cli.options import (
    choose_format,
    entropy_option,
    force_option,
    inputs_argument,
    output_option,
    quiet_option,
    to_option,
)
from ncodec.cli.progress import say


@click.command()
@inputs_argument()
@output_option(".ncx or .ecdc file")
@entropy_option()
@to_option()
@force_option()
@quiet_option()
def repack(
    inputs: tuple[str, ...], output: str | None, to: str | None, entropy: str | None,
    force: bool, quiet: bool,
) -> None:  # fmt: skip
    """Make .ncx of .ecdc files, and the other way, without loss: the codes stay as they are.

    An .ncx file can also be made anew with another entropy coder. An .ecdc file holds codes of
    EnCodec's two models in a single stream, and neither tags nor the source's sample rate; that
    such a thing is left out is said. .ecdc files with a language model can be read only where
    floating point comes out as it did where they were written.

    \b
    Examples:
      ncodec repack song.ecdc                     # makes song.ncx
      ncodec repack song.ncx -o song.ecdc
      ncodec repack --entropy packed song.ncx -o plain.ncx
    """  # noqa: D301
    made = choose_format(to, output, entropy)
    jobs = plan_jobs(inputs, output, f".{made}", overwrite=force)

    def start() -> Callable[[Job], None]:
        from ncodec.formats.ncx import Reader
        from ncodec.transcode import ecdc_to_ncx, ncx_to_ecdc, ncx_to_ncx, reader_of_ecdc

        def repack_one(job: Job) -> None:
            name = source_name(job.source)
            with (
                open_known(job.source) as (stream, is_ecdc),
                open_output(job.target, overwrite=force) as sink,
            ):
                if made == "ecdc":
                    reader = reader_of_ecdc(stream, name) if is_ecdc else Reader(stream, name)
                    left_out = ncx_to_ecdc(reader, sink, lm=entropy == "lm").left_out
                    if left_out:
                        warn(f"{target_name(job.target)}: without {', '.join(left_out)}")
                elif is_ecdc:
                    ecdc_to_ncx(stream, name, sink, entropy)
                else:
                    ncx_to_ncx(Reader(stream, name), sink, entropy)
            say(f"{job.title}: the same codes", quiet=quiet)

        return repack_one

    run_jobs(jobs, start)
