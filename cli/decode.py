"""`ncodec decode`: .ncx files to audio files."""

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import click

from ncodec.cli.errors import warn
from ncodec.cli.inputs import (
    STDIO,
    Job,
    binary_stdout,
    open_codes,
    plan_jobs,
    run_jobs,
    source_name,
    target_name,
)
from ncodec.cli.options import force_option, inputs_argument, output_option, quiet_option
from ncodec.cli.progress import clock, progress_bar, say, speed

if TYPE_CHECKING:
    from ncodec.audio import AudioSink

FORMATS = ("wav", "flac", "ogg", "mp3", "opus", "aiff", "caf", "w64", "rf64")


@click.command()
@inputs_argument()
@output_option("audio file, whose suffix chooses the format")
@click.option(
    "--format",
    "container",
    type=click.Choice(FORMATS),
    help="Format of the audio; by default the suffix of -o decides, or it is wav.",
)
@click.option(
    "--subtype",
    metavar="TYPE",
    help="libsndfile's name of the sample type: PCM_16 (default), PCM_24, FLOAT, ...",
)
@click.option(
    "--codec-rate",
    is_flag=True,
    help="Keep the codec's sample rate, instead of going back to the source's.",
)
@force_option()
@quiet_option()
def decode(
    inputs: tuple[str, ...], output: str | None, container: str | None, subtype: str | None,
    codec_rate: bool, force: bool, quiet: bool,
) -> None:  # fmt: skip
    """Decode .ncx files, and EnCodec's .ecdc files, into audio files.

    Gives exactly as many samples as the source had, at its sample rate, and its tags where the
    format has room for them. song.ncx becomes song.wav beside it unless -o says otherwise; - is
    standard input, and then standard output. Samples beyond full scale are limited, and counted on
    stderr; --subtype FLOAT keeps them. A damaged file gives no output.

    \b
    Examples:
      ncodec decode song.ncx                      # makes song.wav
      ncodec decode song.ncx -o song.flac --subtype PCM_24
      ncodec decode --format ogg -o decoded/ *.ncx
      ncodec decode song.ncx -o - | aplay
    """  # noqa: D301
    jobs = plan_jobs(inputs, output, f".{container or 'wav'}", overwrite=force)

    def start() -> Callable[[Job], None]:
        from ncodec.audio import AudioSink
        from ncodec.decoding import Decoding

        def decode_one(job: Job) -> None:
            started = time.perf_counter()
            with open_codes(job.source) as reader:
                decoding = Decoding(reader, codec_rate=codec_rate)
                rate, n_samples = decoding.sample_rate_hz, decoding.n_samples
                total = None if n_samples is None else n_samples / rate
                with (
                    AudioSink(
                        binary_stdout() if job.target == STDIO else job.target,
                        rate, decoding.n_channels, n_samples=n_samples, container=container,
                        subtype=subtype, tags=join_tags(decoding.header.tags), overwrite=force,
                    ) as sink,
                    progress_bar(source_name(job.source), total, quiet=quiet) as advance,
                ):  # fmt: skip
                    for block in decoding.blocks():
                        sink.write(block)
                        advance(block.shape[1] / rate)
            if sink.n_clipped:
                n_values = sink.n_written * sink.n_channels
                clipped = f"{sink.n_clipped} of {n_values} samples clipped, peak {sink.peak:.3f}"
                warn(f"{target_name(job.target)}: {clipped}")
            say(f"{job.title}: {_summary(sink, rate, time.perf_counter() - started)}", quiet=quiet)

        return decode_one

    run_jobs(jobs, start)


def join_tags(tags: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the tags by key in upper case, the values of a repeated key in one."""
    joined: dict[str, str] = {}
    for key, value in tags:
        key = key.upper()
        joined[key] = f"{joined[key]}; {value}" if key in joined else value
    return joined


def _summary(sink: "AudioSink", rate: int, elapsed_s: float) -> str:
    seconds = sink.n_written / rate
    text = f"{clock(seconds)}, {speed(seconds, elapsed_s)}" if seconds else "no samples"
    left_out = ", ".join(sink.unwritten_tags)
    return f"{text}, without room for the tags {left_out}" if left_out else text
