"""`ncodec encode`: audio files to .ncx files."""

import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
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
    json_option,
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
from ncodec.errors import AudioError, UsageError

if TYPE_CHECKING:
    from ncodec.audio import AudioSource
    from ncodec.cli.gapless import GaplessJobs
    from ncodec.encoding.choice import Choices
    from ncodec.encoding.encoder import Encoded
    from ncodec.encoding.options import ResolvedOptions

ENCODE_SCHEMA = "ncodec.encode/1"
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
@json_option(ENCODE_SCHEMA, "a line for each file")
@force_option()
@quiet_option()
def encode(
    inputs: tuple[str, ...], output: str | None, model: str | None, bandwidth_kbps: float | None,
    n_q: int | None, effort: str | int | None, quality: float | None, entropy: str | None,
    keep_pictures: bool | None, denoise: bool, live: bool, latency_ms: float | None,
    raw_format: str | None, raw_rate: int | None, raw_channels: int | None, conceal: bool,
    gapless: bool, to: str | None, as_json: bool, force: bool, quiet: bool,
) -> None:  # fmt: skip
    """Compress audio files into .ncx files.

    Reads every format of libsndfile (wav, flac, ogg, mp3, aiff, ...), at any rate and with up to
    64 channels. Audio is resampled to the codec's rate; decoding restores the source's rate and
    length. Tags and pictures are kept. song.wav becomes song.ncx next to it unless -o says
    otherwise. If the input is - (standard input), the output goes to standard output by default.

    A mono codec codes every channel as a stream of its own, so stereo takes twice the bandwidth. A
    file whose channels are all the same is coded as one, and comes back with all of them.

    Without -m, a source of two channels that differ, at 32 kHz or more, is coded by the model
    spectral-48k where that is installed, any other by spectral.

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
    if as_json and any(job.target == STDIO for job in jobs):
        raise UsageError("--json: standard output is for the file")
    if gapless:  # all or nothing: what is left out would leave a gap
        jobs = [job for job in jobs if job.problem is not None] or jobs

    def start() -> Callable[[Job], int]:
        from ncodec.audio.stderr import catch_decoders
        from ncodec.codec import encode_audio
        from ncodec.encoding.choice import Choices
        from ncodec.encoding.options import EncodeOptions

        catch_decoders()
        is_ecdc = made == "ecdc"
        choices = Choices(EncodeOptions(
            model or (DEFAULT_MODELS[made] if is_ecdc else None), bandwidth_kbps=bandwidth_kbps,
            n_q=n_q, denoise=denoise, effort=effort, quality=quality,
            entropy="packed" if is_ecdc else entropy, keep_pictures=keep_pictures is None,
            conceal=conceal,
        ), live=live)  # fmt: skip
        write: Callable[..., Encoded] = encode_audio
        if is_ecdc:
            from ncodec.encoding.ecdc import encode_ecdc

            write = partial(encode_ecdc, lm=entropy == "lm")
        elif live:
            latency_s = latency_ms and latency_ms / 1000
            write = partial(encode_live, latency_s=latency_s, quiet=quiet)
        opening = {"allow_truncated": live, "conceal": conceal, "raw": raw}
        can_look = not (live or is_ecdc)
        tell = _Teller(may_lack_entropy=entropy is None and can_look, as_json=as_json, quiet=quiet)
        if gapless:
            from ncodec.cli.gapless import GaplessJobs

            options, why = _options_of_row(choices, jobs[0], opening)
            row = GaplessJobs(jobs, options, opening, overwrite=force, quiet=quiet)
            return partial(_encode_track, row, options, why, tell)
        choose = partial(_options_of_file, choices, opening, can_look)
        return partial(_encode_file, write, choose, opening, force, tell)

    run_jobs(jobs, start)


_Chosen = tuple["ResolvedOptions", str]  # how a source is coded, and why by that model


def _options_of_file(
    choices: "Choices", opening: dict[str, Any], can_look: bool, job: Job, source: "AudioSource"
) -> _Chosen:
    """Choose how a file is coded. That it has equal channels only a file tells, no pipe."""
    from ncodec.encoding.choice import have_equal_channels

    can_look = can_look and source.n_channels > 1 and Path(job.source).is_file()
    equal = can_look and have_equal_channels(job.source, **opening)
    return choices.options_for(source.sample_rate_hz, source.n_channels, equal_channels=equal)


def _options_of_row(choices: "Choices", first: Job, opening: dict[str, Any]) -> _Chosen:
    """Choose how tracks that follow each other are coded: as the first of them calls for."""
    from ncodec.audio import AudioSource

    if choices.stereo is not None and first.problem is None and Path(first.source).is_file():
        with contextlib.suppress(AudioError), AudioSource(first.source, **opening) as source:
            return choices.options_for(source.sample_rate_hz, source.n_channels)
    return choices.options_for(0, 1)


def _encode_file(
    write: "Callable[..., Encoded]", choose: "Callable[[Job, AudioSource], _Chosen]",
    opening: dict[str, Any], force: bool, tell: "_Teller", job: Job,
) -> int:  # fmt: skip
    from ncodec.audio import AudioSource

    refuse_ncx(job.source)
    started = time.perf_counter()
    opened = binary_stdin() if job.source == STDIO else job.source
    with AudioSource(opened, **opening) as source:
        options, why = choose(job, source)
        with open_output(job.target, overwrite=force) as sink:
            rate, n_samples = source.sample_rate_hz, source.n_samples
            total = None if n_samples is None else n_samples / rate
            with progress_bar(source.name, total, quiet=tell.quiet) as advance:

                def on_progress(n: int) -> None:
                    advance(n / rate)

                done = write(source, sink, options=options, on_progress=on_progress)
    elapsed_s = time.perf_counter() - started
    done = replace(done, damage=tuple(source.damage), remarks=tuple(source.remarks))
    return tell(job, source.name, done, options, why, speed(done.seconds, elapsed_s))


def _encode_track(
    row: "GaplessJobs", options: "ResolvedOptions", why: str, tell: "_Teller", job: Job
) -> int:
    done, follows = row.encode(job)
    gap = "goes on from the one before" if follows else ""
    return tell(job, source_name(job.source), done, options, why, gap)


@dataclass(frozen=True, slots=True)
class _Teller:
    """Tells what files came to."""

    may_lack_entropy: bool  # then it is said where there is no entropy model
    as_json: bool
    quiet: bool

    def __call__(
        self, job: Job, name: str, done: "Encoded", options: "ResolvedOptions", why: str, said: str
    ) -> int:
        """Tell of one, and return the exit code that it calls for."""
        for remark in (*done.damage, *done.remarks):
            warn(f"{name}: {remark}")
        if done.left_out:
            warn(f"{target_name(job.target)}: without {', '.join(done.left_out)}")
        lacks = self.may_lack_entropy and options.entropy.model is None
        model_id = options.model.model_id
        also = f"{options.entropy.name}: {model_id} has no entropy model" if lacks else ""
        say(f"{job.title}: {_summary(done, (said, also))}", quiet=self.quiet)
        if self.as_json:
            click.echo(json.dumps(_as_json(name, job, done, options, why)))
        return EXIT_CONCEALED if done.damage else EXIT_OK


def _as_json(
    name: str, job: Job, done: "Encoded", options: "ResolvedOptions", why: str
) -> dict[str, object]:
    return {
        "schema": ENCODE_SCHEMA,
        "source": name,
        "target": job.target,
        "model": options.model.model_id,
        "model_reason": why,
        "n_codebooks": options.n_q,
        "sample_rate_hz": done.sample_rate_hz,
        "n_channels": done.n_channels,
        "n_coded_channels": done.n_coded_channels,
        "n_samples": done.n_samples,
        "duration_s": done.seconds,
        "n_bytes": done.n_bytes,
    }


def _summary(done: "Encoded", said: tuple[str, str]) -> str:
    if done.n_samples == 0:
        return f"no samples, {done.n_bytes} bytes"
    n_bytes = done.n_bytes - done.picture_bytes
    parts = (
        clock(done.seconds),
        f"{8 * n_bytes / done.seconds / 1000:.2f} kbps",
        f"{2 * done.n_samples * done.n_channels / n_bytes:.1f}:1 to 16-bit PCM",
        said[0],
        f"{done.n_channels} equal channels as one" if done.are_equal else "",
        f"and {done.picture_bytes} bytes of pictures" if done.picture_bytes else "",
        said[1],
    )
    return ", ".join(part for part in parts if part)
