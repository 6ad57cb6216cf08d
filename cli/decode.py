"""`ncodec decode`: .ncx files to audio files."""

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from ncodec.cli.errors import EXIT_CONCEALED, EXIT_OK, warn
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
from ncodec.cli.options import (
    audio_format_options,
    force_option,
    inputs_argument,
    output_option,
    quiet_option,
    segment_options,
    threads_option,
)
from ncodec.cli.progress import clock, progress_bar, say, speed
from ncodec.errors import AudioError, RateUnsupported, UsageError

if TYPE_CHECKING:
    from ncodec.audio import AudioSink
    from ncodec.decoding import Gap
    from ncodec.formats.ncx import Damage


@click.command()
@inputs_argument()
@output_option("audio file, whose suffix chooses the format")
@audio_format_options(
    "Format of the audio; by default the suffix of -o decides, or it is wav.",
    "libsndfile's name of the sample type: PCM_16 (default), PCM_24, FLOAT, ...",
)
@click.option(
    "--codec-rate",
    is_flag=True,
    help="Keep the codec's sample rate, instead of going back to the source's.",
)
@click.option(
    "--rate", "rate_hz", type=click.IntRange(1, 1_000_000), metavar="HZ",
    help="Sample rate of the audio, where the source's is not wanted.",
)  # fmt: skip
@segment_options()
@click.option(
    "--conceal",
    is_flag=True,
    help="Put silence where packets are damaged or missing, and report where; the exit code is 3 "
    "then.",
)
@threads_option()
@force_option()
@quiet_option()
def decode(
    inputs: tuple[str, ...], output: str | None, container: str | None, subtype: str | None,
    codec_rate: bool, rate_hz: int | None, start: float, end: float | None, conceal: bool,
    force: bool, quiet: bool,
) -> None:  # fmt: skip
    """Decode .ncx files, and EnCodec's .ecdc files, into audio files.

    The output has exactly as many samples as the source, its sample rate, and its tags and pictures
    where the format has room for them. song.ncx becomes song.wav next to it unless -o says
    otherwise. If the input is - (standard input), the output goes to standard output by default.
    Samples beyond full scale are clipped, and counted on stderr; --subtype FLOAT keeps them. A
    damaged file gives no output without --conceal.

    With --start and --end, only the packets that are needed are read, if the file has an index.

    \b
    Examples:
      ncodec decode song.ncx                      # makes song.wav
      ncodec decode song.ncx -o song.flac --subtype PCM_24
      ncodec decode song.ncx -o song.opus --rate 48000
      ncodec decode --format ogg -o decoded/ *.ncx
      ncodec decode song.ncx -o - | aplay
      ncodec decode --start 1:02:03 --end 1:02:04.5 day.ncx -o moment.wav
    """  # noqa: D301
    if codec_rate and rate_hz is not None:
        raise UsageError("--codec-rate and --rate exclude each other")
    jobs = plan_jobs(inputs, output, f".{container or 'wav'}", overwrite=force)

    def prepare() -> Callable[[Job], int]:
        from ncodec.audio import AudioSink
        from ncodec.decoding import DecodeOptions, Decoding, RecoveringReader
        from ncodec.formats.ncx import Reader

        def decode_one(job: Job) -> int:
            started = time.perf_counter()
            name = source_name(job.source)
            with open_codes(job.source) as stream:
                reader = RecoveringReader(stream, name) if conceal else Reader(stream, name)
                n_threads = 1 if job.target == STDIO else None
                options = DecodeOptions(codec_rate, start, end, n_threads, rate_hz)
                decoding = Decoding(reader, options)
                rate, n_samples = decoding.sample_rate_hz, decoding.n_samples
                total = None if n_samples is None else n_samples / rate
                with (
                    _offering_rate(),
                    AudioSink(
                        binary_stdout() if job.target == STDIO else job.target,
                        rate, decoding.n_channels, n_samples=n_samples, container=container,
                        subtype=subtype, tags=decoding.header.tags,
                        pictures=decoding.header.pictures, overwrite=force,
                    ) as sink,
                    progress_bar(name, total, quiet=quiet) as advance,
                ):  # fmt: skip
                    for block in decoding.blocks():
                        sink.write(block)
                        advance(block.shape[1] / rate)
            if sink.n_clipped:
                n_values = sink.n_written * sink.n_channels
                clipped = f"{sink.n_clipped} of {n_values} samples clipped, peak {sink.peak:.3f}"
                warn(f"{target_name(job.target)}: {clipped}")
            say(f"{job.title}: {_summary(sink, rate, time.perf_counter() - started)}", quiet=quiet)
            damage = reader.damage if isinstance(reader, RecoveringReader) else ()
            return _report_damage(decoding.gaps, damage)

        return decode_one

    run_jobs(jobs, prepare)


def _report_damage(gaps: Sequence["Gap"], damage: Sequence["Damage"]) -> int:
    """Say what was damaged and where silence is; return the exit code."""
    said = set[str]()
    for gap in gaps:
        said.add(str(gap.error))
        silence = f"{gap.seconds:.1f} s of silence from {clock(gap.start_s)}"
        warn(f"{gap.error}: {silence}" if gap.seconds else str(gap.error))
    for one in damage:
        if str(one.error) not in said:  # it cost no audio
            warn(str(one.error))
    return EXIT_CONCEALED if gaps or damage else EXIT_OK


@contextmanager
def _offering_rate() -> Generator[None]:
    """Say what helps where a format lacks the source's sample rate."""
    try:
        yield
    except RateUnsupported as error:
        raise AudioError(f"{error}; --rate resamples") from None


def _summary(sink: "AudioSink", rate: int, elapsed_s: float) -> str:
    seconds = sink.n_written / rate
    text = f"{clock(seconds)}, {speed(seconds, elapsed_s)}" if seconds else "no samples"
    return f"{text}, without room for {sink.unwritten}" if sink.unwritten else text
