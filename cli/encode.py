"""`ncodec encode`: audio files to .ncx files."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from ncodec.cli.inputs import (
    STDIO,
    Job,
    binary_stdin,
    open_output,
    plan_jobs,
    refuse_ncx,
    run_jobs,
)
from ncodec.cli.options import force_option, inputs_argument, output_option, quiet_option
from ncodec.cli.progress import clock, progress_bar, say, speed
from ncodec.errors import UsageError

if TYPE_CHECKING:
    from ncodec.codec import Encoded


@click.command()
@inputs_argument()
@output_option(".ncx file")
@click.option(
    "-m",
    "--model",
    default="spectral",
    show_default=True,
    metavar="MODEL",
    help="A model's id, or an architecture's name for its default model.",
)
@click.option(
    "-b",
    "--bandwidth",
    "bandwidth_kbps",
    type=float,
    metavar="KBPS",
    help="Nominal kbit/s of each code stream; the model's own choice by default.",
)
@click.option("--n-q", type=int, metavar="N", help="Number of codebooks, instead of -b.")
@click.option(
    "--entropy",
    type=click.Choice(("transformer", "adaptive", "packed")),
    help="Entropy coder; by default transformer for a model that has an entropy model, else "
    "adaptive.",
)
@force_option()
@quiet_option()
def encode(
    inputs: tuple[str, ...], output: str | None, model: str, bandwidth_kbps: float | None,
    n_q: int | None, entropy: str | None, force: bool, quiet: bool,
) -> None:  # fmt: skip
    """Compress audio files into .ncx files.

    Takes what libsndfile reads (wav, flac, ogg, mp3, aiff, ...), at any rate and with up to 64
    channels; the codec's own rate is chosen inside, and decoding gives the source's rate and length
    back. Tags are kept. song.wav becomes song.ncx beside it unless -o says otherwise; - is standard
    input, and then standard output.

    A mono codec codes every channel as a stream of its own, so stereo takes twice the bandwidth.

    \b
    Examples:
      ncodec encode song.flac                     # makes song.ncx
      ncodec encode -b 3 -o small/ *.wav
      sox song.mp3 -t wav - | ncodec encode - > song.ncx
    """  # noqa: D301
    if bandwidth_kbps is not None and n_q is not None:
        raise UsageError("-b and --n-q exclude each other")
    jobs = plan_jobs(inputs, output, ".ncx", overwrite=force)

    def start() -> Callable[[Job], None]:
        from ncodec.audio import AudioSource
        from ncodec.codec import choose_n_q, encode_audio
        from ncodec.entropy_models import choose_entropy
        from ncodec.weights import find

        found = find(model)
        n_codebooks = choose_n_q(found, bandwidth_kbps, n_q)
        coder = choose_entropy(found, entropy, n_codebooks)
        fallback = entropy is None and coder.model is None
        said = f"{coder.name}: {found.model_id} has no entropy model" if fallback else ""

        def encode_one(job: Job) -> None:
            refuse_ncx(job.source)
            started = time.perf_counter()
            opened = binary_stdin() if job.source == STDIO else job.source
            with AudioSource(opened) as source, open_output(job.target, overwrite=force) as sink:
                rate, n_samples = source.sample_rate_hz, source.n_samples
                total = None if n_samples is None else n_samples / rate
                with progress_bar(source.name, total, quiet=quiet) as advance:
                    done = encode_audio(
                        source, sink, model=found, n_q=n_codebooks, entropy=coder,
                        on_progress=lambda n: advance(n / rate),
                    )  # fmt: skip
            elapsed_s = time.perf_counter() - started
            say(f"{job.title}: {_summary(done, source.n_channels, elapsed_s, said)}", quiet=quiet)

        return encode_one

    run_jobs(jobs, start)


def _summary(done: "Encoded", n_channels: int, elapsed_s: float, said: str) -> str:
    if done.n_samples == 0:
        return f"no samples, {done.n_bytes} bytes"
    parts = (
        clock(done.seconds),
        f"{8 * done.n_bytes / done.seconds / 1000:.2f} kbps",
        f"{2 * done.n_samples * n_channels / done.n_bytes:.1f}:1 to 16-bit PCM",
        speed(done.seconds, elapsed_s),
        said,
    )
    return ", ".join(part for part in parts if part)
