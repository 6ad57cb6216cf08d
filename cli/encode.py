"""`ncodec encode`: audio files to .ncx files."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from ncodec.cli.errors import EXIT_CONCEALED, EXIT_OK, warn
from ncodec.cli.inputs import (
    STDIO,
    Job,
    binary_stdin,
    open_output,
    plan_jobs,
    refuse_ncx,
    run_jobs,
    source_name,
    target_name,
)
from ncodec.cli.live import encode_live
from ncodec.cli.options import (
    check_codebooks,
    choose_format,
    codebooks_options,
    entropy_option,
    force_option,
    inputs_argument,
    model_option,
    output_option,
    pictures_option,
    quiet_option,
    raw_header_of,
    raw_options,
    search_options,
    threads_option,
    to_option,
)
from ncodec.cli.progress import clock, progress_bar, say, speed
from ncodec.errors import UsageError

if TYPE_CHECKING:
    from ncodec.cli.gapless import GaplessJobs
    from ncodec.encoding.encoder import Encoded

DEFAULT_MODELS = {"ncx": "spectral", "ecdc": "encodec_24khz"}


@click.command()
@inputs_argument()
@output_option(".ncx or .ecdc file")
@model_option("spectral, for .ecdc encodec_24khz")
@codebooks_options()
@search_options()
@entropy_option()
@pictures_option()
@click.option("--denoise", is_flag=True, help="Remove noise, with a model that can.")
@click.option(
    "--live",
    is_flag=True,
    help="Write short packets, each as soon as it is complete, for live listening through pipes. "
    "An interrupt (Ctrl-C) ends the stream properly.",
)
@click.option(
    "--latency",
    "latency_ms",
    type=click.FloatRange(min=0, min_open=True),
    metavar="MS",
    help="With --live, milliseconds at most from a sample in to the same sample decoded, without "
    "the time for computing; by default 300, or more if the codec needs more. A lower latency "
    "takes more bits.",
)
@raw_options()
@click.option(
    "--conceal",
    is_flag=True,
    help="Take what can be read of damaged audio, with silence for the rest where its length is "
    "known, and report where; the exit code is 3 then.",
)
@click.option(
    "--gapless",
    is_flag=True,
    help="The inputs are tracks that follow each other in this order: without a step between two "
    "that sound to their ends.",
)
@to_option()
@threads_option()
@force_option()
@quiet_option()
def encode(
    inputs: tuple[str, ...], output: str | None, model: str | None, bandwidth_kbps: float | None,
    n_q: int | None, effort: str | int | None, quality: float | None, entropy: str | None,
    keep_pictures: bool | None, denoise: bool, live: bool, latency_ms: float | None,
    raw_format: str | None, raw_rate: int | None, raw_channels: int | None, conceal: bool,
    gapless: bool, to: str | None, force: bool, quiet: bool,
) -> None:  # fmt: skip
    """Compress audio files into .ncx files.

    Reads every format of libsndfile (wav, flac, ogg, mp3, aiff, ...), at any rate and with up to
    64 channels. Audio is resampled to the codec's rate; decoding restores the source's rate and
    length. Tags and pictures are kept. song.wav becomes song.ncx next to it unless -o says
    otherwise. If the input is - (standard input), the output goes to standard output by default.

    A mono codec codes every channel as a stream of its own, so stereo takes twice the bandwidth.

    Also writes EnCodec's own .ecdc files, with its models. They hold one stream, so stereo is mixed
    to mono for the mono model, and neither tags nor the source's rate. A message says what is left
    out.

    \b
    Examples:
      ncodec encode song.flac                     # makes song.ncx
      ncodec encode -b 3 -o small/ *.wav
      ncodec encode --quality 6 --effort best *.wav
      ncodec encode --gapless -o album/ 0*.flac
      sox song.mp3 -t wav - | ncodec encode - > song.ncx
      arecord -f cd - | ncodec encode --live - | ncodec decode - | aplay
    """  # noqa: D301
    check_codebooks(bandwidth_kbps, n_q)
    made = choose_format(to, output, entropy)
    for makes_no_sense, why in (
        (latency_ms is not None and not live, "--latency is for --live"),
        (live and made == "ecdc", "--live: .ecdc files cannot be live"),
        (quality is not None and made == "ecdc", "--quality is for .ncx files"),
        (gapless and (live or made == "ecdc"), "--gapless: neither for --live nor .ecdc files"),
    ):
        if makes_no_sense:
            raise UsageError(why)
    raw = raw_header_of(raw_format, raw_rate, raw_channels)
    jobs = plan_jobs(inputs, output, f".{made}", overwrite=force)
    if gapless:  # all or nothing: what is left out would leave a gap
        jobs = [job for job in jobs if job.problem is not None] or jobs

    def start() -> Callable[[Job], int]:
        from ncodec.audio.stderr import catch_decoders
        from ncodec.codec import encode_audio
        from ncodec.encoding.options import EncodeOptions
        from ncodec.hub.codecs import find

        catch_decoders()
        found, is_ecdc = find(model or DEFAULT_MODELS[made]), made == "ecdc"
        options = EncodeOptions(
            found, bandwidth_kbps=bandwidth_kbps, n_q=n_q, denoise=denoise, effort=effort,
            quality=quality, entropy="packed" if is_ecdc else entropy,
            keep_pictures=keep_pictures is None, conceal=conceal,
        ).resolve(live=live)  # fmt: skip
        write: Callable[..., Encoded] = partial(encode_audio, options=options)
        if is_ecdc:
            from ncodec.encoding.ecdc import encode_ecdc

            write = partial(encode_ecdc, options=options, lm=entropy == "lm")
        elif live:
            latency_s = latency_ms and latency_ms / 1000
            write = partial(encode_live, options=options, latency_s=latency_s, quiet=quiet)
        said = ""
        if entropy is None and options.entropy.model is None and not (live or is_ecdc):
            said = f"{options.entropy.name}: {options.model.model_id} has no entropy model"

        opening = {"allow_truncated": live, "conceal": conceal, "raw": raw}
        if gapless:
            from ncodec.cli.gapless import GaplessJobs

            row = GaplessJobs(jobs, options, opening, overwrite=force, quiet=quiet)
            return partial(_encode_track, row, said, quiet)
        return partial(_encode_file, write, opening, said, force, quiet)

    run_jobs(jobs, start)


def _encode_file(
    write: "Callable[..., Encoded]", opening: dict[str, Any], said: str, force: bool, quiet: bool,
    job: Job,
) -> int:  # fmt: skip
    from ncodec.audio import AudioSource

    refuse_ncx(job.source)
    started = time.perf_counter()
    opened = binary_stdin() if job.source == STDIO else job.source
    with (
        AudioSource(opened, **opening) as source,
        open_output(job.target, overwrite=force) as sink,
    ):
        rate, n_samples = source.sample_rate_hz, source.n_samples
        total = None if n_samples is None else n_samples / rate
        with progress_bar(source.name, total, quiet=quiet) as advance:

            def on_progress(n: int) -> None:
                advance(n / rate)

            done = write(source, sink, on_progress=on_progress)
    elapsed_s = time.perf_counter() - started
    done = replace(done, damage=tuple(source.damage), remarks=tuple(source.remarks))
    said_of_it = (speed(done.seconds, elapsed_s), said)
    return _told(job, source.name, done, said_of_it, quiet=quiet)


def _encode_track(row: "GaplessJobs", said: str, quiet: bool, job: Job) -> int:
    done, follows = row.encode(job)
    gap = "goes on from the one before" if follows else ""
    return _told(job, source_name(job.source), done, (gap, said), quiet=quiet)


def _told(job: Job, name: str, done: "Encoded", said: tuple[str, str], *, quiet: bool) -> int:
    """Tell what a file came to, and return the exit code that it calls for."""
    for remark in (*done.damage, *done.remarks):
        warn(f"{name}: {remark}")
    if done.left_out:
        warn(f"{target_name(job.target)}: without {', '.join(done.left_out)}")
    say(f"{job.title}: {_summary(done, said)}", quiet=quiet)
    return EXIT_CONCEALED if done.damage else EXIT_OK


def _summary(done: "Encoded", said: tuple[str, str]) -> str:
    if done.n_samples == 0:
        return f"no samples, {done.n_bytes} bytes"
    n_bytes = done.n_bytes - done.picture_bytes
    parts = (
        clock(done.seconds),
        f"{8 * n_bytes / done.seconds / 1000:.2f} kbps",
        f"{2 * done.n_samples * done.n_channels / n_bytes:.1f}:1 to 16-bit PCM",
        said[0],
        f"and {done.picture_bytes} bytes of pictures" if done.picture_bytes else "",
        said[1],
    )
    return ", ".join(part for part in parts if part)
