"""Arguments and options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ncodec.errors import NcodecError, UsageError
from ncodec.formats.audio_files import RAW_FORMATS, READABLE, WITH_FFMPEG, WRITABLE
from ncodec.models import EFFORTS, MAX_EFFORT, MAX_QUALITY

if TYPE_CHECKING:
    from ncodec.audio.wav import WavHeader

INSPECT_SCHEMA = "ncodec.inspect/1"
MODELS_SCHEMA = "ncodec.models/1"
CODERS: dict[str, tuple[str, ...]] = {  # of each format of codes
    "ncx": ("transformer", "mixed", "adaptive", "packed"),
    "ecdc": ("packed", "lm"),
}

F = TypeVar("F", bound=Callable[..., Any])
Decorator = Callable[[F], F]


def inputs_argument() -> Decorator[Any]:
    """One input or more; `-` is standard input."""
    return click.argument(
        "inputs", nargs=-1, required=True, metavar="INPUT...",
        type=click.Path(allow_dash=True, readable=False),  # one bad input must not stop the others
    )  # fmt: skip


def output_option(made: str) -> Decorator[Any]:
    """Where to put what is `made`."""
    return click.option(
        "-o", "--output", metavar="OUT", type=click.Path(allow_dash=True),
        help=f"Name of the {made}, or a folder: with several inputs, with a trailing /, or if "
        "it exists; - for standard output.",
    )  # fmt: skip


def force_option() -> Decorator[Any]:
    """Allow overwriting."""
    return click.option("-f", "--force", is_flag=True, help="Overwrite files that exist.")


def quiet_option() -> Decorator[Any]:
    """Print less."""
    return click.option(
        "-q", "--quiet", is_flag=True, help="No progress and no summary; only warnings and errors."
    )


def held_out_option(which: str) -> Decorator[Any]:
    """The configuration that says what a codec was not trained on, and `which` files that makes."""
    return click.option(
        "--held-out", metavar="CONFIG", type=click.Path(path_type=Path),
        help=f"{which} that this configuration of ncodec train names as validation.",
    )  # fmt: skip


def json_option(schema: str, how_many: str = "") -> Decorator[Any]:
    """Print for programs; an object, or `how_many` there are."""
    objects = f"JSON objects, {how_many}" if how_many else "one JSON object"
    return click.option(
        "--json", "as_json", is_flag=True, help=f"Print {objects}, schema {schema}."
    )


def to_option() -> Decorator[Any]:
    """Which format of codes to make."""
    return click.option(
        "--to", type=click.Choice(tuple(CODERS)),
        help="Output format; by default the suffix of -o decides, or it is ncx.",
    )  # fmt: skip


def model_option(default: str) -> Decorator[Any]:
    """Which codec; `default` says which one it is otherwise."""
    return click.option(
        "-m", "--model", metavar="MODEL",
        help="A model's id, or an architecture's name for its default model; by default "
        f"{default}.",
    )  # fmt: skip


def pictures_option() -> Decorator[Any]:
    """Whether pictures are kept."""
    return click.option(
        "--no-pictures", "keep_pictures", flag_value=False, default=None,
        help="Leave out the pictures of the source, which may be larger than its codes.",
    )  # fmt: skip


def audio_format_options(container: str, subtype: str) -> Decorator[Any]:
    """Which audio to make; the arguments are the texts of the help."""

    def decorate(command: Any) -> Any:
        command = click.option("--subtype", metavar="TYPE", help=subtype)(command)
        return click.option(
            "--format", "container", type=click.Choice(tuple(WRITABLE)), help=container
        )(command)

    return decorate


def codebooks_options() -> Decorator[Any]:
    """How many codebooks to use."""

    def decorate(command: Any) -> Any:
        command = click.option(
            "--n-q", type=int, metavar="N", help="Number of codebooks, instead of -b."
        )(command)
        return click.option(
            "-b", "--bandwidth", "bandwidth_kbps", type=float, metavar="KBPS",
            help="Nominal kbit/s of each code stream; the model's own choice by default.",
        )(command)  # fmt: skip

    return decorate


def raw_options() -> Decorator[Any]:
    """What raw samples are."""

    def decorate(command: Any) -> Any:
        command = click.option(
            "--raw-channels", type=click.IntRange(1, 64), metavar="N",
            help="How many channels are interleaved; by default 1.",
        )(command)  # fmt: skip
        command = click.option(
            "--raw-rate", type=click.IntRange(1, 1_000_000), metavar="HZ",
            help="Their sample rate.",
        )(command)  # fmt: skip
        return click.option(
            "--raw-format", type=click.Choice(tuple(RAW_FORMATS)),
            help="The inputs are raw samples of this kind, without a header.",
        )(command)  # fmt: skip

    return decorate


def raw_header_of(
    raw_format: str | None, rate_hz: int | None, n_channels: int | None
) -> "WavHeader | None":
    """Return what raw inputs are, None for others. Raises UsageError."""
    if raw_format is None and rate_hz is None and n_channels is None:
        return None
    if raw_format is None or rate_hz is None:
        raise UsageError("raw samples need --raw-format and --raw-rate")
    from ncodec.audio.wav import raw_header

    return raw_header(raw_format, rate_hz, n_channels or 1)


def check_codebooks(bandwidth_kbps: float | None, n_q: int | None) -> None:
    """Raise UsageError if both say how many codebooks."""
    if bandwidth_kbps is not None and n_q is not None:
        raise UsageError("-b and --n-q exclude each other")


def _effort(ctx: click.Context, param: click.Parameter, value: str | None) -> str | int | None:
    """Return a level, or the width of a beam. Raises BadParameter for all else."""
    if value is None or value in EFFORTS:
        return value
    if not value.lstrip("-").isdigit():
        known = ", ".join(EFFORTS)
        raise click.BadParameter(f"{value!r} is not one of {known}, or a number", ctx, param)
    return click.IntRange(1, MAX_EFFORT).convert(int(value), param, ctx)


def search_options() -> Decorator[Any]:
    """How codes are searched for."""

    def decorate(command: Any) -> Any:
        command = click.option(
            "--quality", type=click.FloatRange(0, MAX_QUALITY), metavar="Q",
            help="Variable bit rate, from 0 to 10: sets the value of a bit, and so the number of "
            "codebooks, unless -b or --n-q does.",
        )(command)  # fmt: skip
        return click.option(
            "--effort", callback=_effort, metavar="LEVEL",
            help="How hard to search for codes: fast, default or best. The last two weigh error "
            "against bits, where a transformer codes them. Or a number from 1 to 64: the width of "
            "a beam search that does not weigh bits.",
        )(command)  # fmt: skip

    return decorate


def entropy_option(*formats: str) -> Decorator[Any]:
    """How to code the codes, in one of `formats`; none: in any."""
    coders = dict.fromkeys(coder for name in formats or CODERS for coder in CODERS[name])
    of_ecdc = "" if formats else (
        " For .ecdc: packed, the default, or lm, EnCodec's language model."
    )  # fmt: skip
    return click.option(
        "--entropy", type=click.Choice(tuple(coders)),
        help="Entropy coder; by default transformer for a model that has an entropy model, else "
        f"mixed.{of_ecdc}",
    )  # fmt: skip


def choose_format(to: str | None, output: str | None, entropy: str | None) -> str:
    """Return which format of codes is made. Raises UsageError for a coder that it lacks."""
    is_file = output is not None and not output.endswith("/") and not Path(output).is_dir()
    named = Path(output or "").suffix[1:] if is_file else ""
    if f".{named.lower()}" in READABLE | WITH_FFMPEG:
        raise UsageError(f"-o {output}: .ncx and .ecdc files are made here, no audio")
    if to is None:
        to = named if named in CODERS else "ncx"
    elif named in CODERS and named != to:
        raise UsageError(f"--to {to} and -o {output} contradict each other")
    if entropy is not None and entropy not in CODERS[to]:
        known = ", ".join(CODERS[to])
        raise UsageError(f"--entropy {entropy}: for .{to} files it is one of {known}")
    return to


def _seconds(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Return the seconds that s, m:s or h:m:s stands for. Raises BadParameter."""
    if value is None:
        return None
    try:
        numbers = [float(part) for part in value.split(":")]
    except ValueError:
        numbers = []
    is_time = 1 <= len(numbers) <= 3 and all(0 <= number < 1e9 for number in numbers)
    if not is_time or not all(number.is_integer() for number in numbers[:-1]):
        raise click.BadParameter(f"{value!r}: expected seconds, m:s or h:m:s", ctx, param)
    return sum(number * 60**power for power, number in enumerate(reversed(numbers)))


def segment_options() -> Decorator[Any]:
    """From when to when."""

    def decorate(command: F) -> F:
        end = click.option(
            "--end", callback=_seconds, metavar="T", help="Where to stop; by default at the end."
        )
        start = click.option(
            "--start", callback=_seconds, default="0", metavar="T",
            help="Where to start: seconds, m:s or h:m:s, with fractions of seconds.",
        )  # fmt: skip
        return start(end(command))

    return decorate


def _use_threads(ctx: click.Context, param: click.Parameter, value: int | None) -> None:
    from ncodec.native.threads import set_n_threads

    if value is not None:
        set_n_threads(value)


def threads_option() -> Decorator[Any]:
    """How many threads to work with; not a parameter of the command."""
    return click.option(
        "--threads", type=click.IntRange(min=1), metavar="N", callback=_use_threads,
        expose_value=False, help="CPU threads; by default as many as there are.",
    )  # fmt: skip


def resume_option() -> Decorator[Any]:
    """Go on with a training run."""
    return click.option("--resume", is_flag=True, help="Resume from the checkpoint in the folder.")


def time_limit_option() -> Decorator[Any]:
    """Stop training early."""
    return click.option(
        "--time-limit", type=click.FloatRange(min=0, min_open=True), metavar="MIN",
        help="Stop after this many minutes; --resume continues.",
    )  # fmt: skip


def device_option() -> Decorator[Any]:
    """Where to train."""
    return click.option("--device", default="cpu", show_default=True, help="A device of torch.")


def training_threads_option() -> Decorator[Any]:
    """How many threads to train with."""
    return click.option(
        "--threads", type=click.IntRange(min=1), metavar="N",
        help="CPU threads; by default torch's choice.",
    )  # fmt: skip


def prepare_torch(device: str, threads: int | None) -> None:
    """Do what --device and --threads say. Raises UsageError for a device that is not there."""
    import torch

    from ncodec.native.threads import set_n_threads

    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:  # what torch says of a device it lacks
        raise UsageError(f"--device {device}: {str(error).splitlines()[0]}") from None
    if threads is not None:
        set_n_threads(threads)


def check_run_folder(folder: Path, *, resume: bool) -> None:
    """Raise NcodecError where training would overwrite an earlier run."""
    if not resume and (folder / "checkpoint.pt").exists():
        raise NcodecError(f"{folder}: holds a run already; --resume goes on with it")
