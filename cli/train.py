"""`ncodec train`: train a codec model."""

import math
from pathlib import Path

import click

from ncodec.cli.progress import say
from ncodec.errors import NcodecError, UsageError


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    "folder",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Folder of the run; by default runs/ and the name of CONFIG.",
)
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in the folder.")
@click.option(
    "--time-limit",
    type=click.FloatRange(min=0, min_open=True),
    metavar="MIN",
    help="Stop after so many minutes; --resume goes on.",
)
@click.option("--device", default="cpu", show_default=True, help="A device of torch.")
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    metavar="N",
    help="CPU threads; by default torch's choice.",
)
def train(
    config: Path, folder: Path | None, resume: bool, time_limit: float | None, device: str,
    threads: int | None,
) -> None:  # fmt: skip
    """Train a codec model.

    CONFIG is a TOML file with the settings.

    The folder then holds the model file, MODEL.safetensors, a checkpoint and log.csv.

    \b
    Examples:
      ncodec train spectral.toml -o runs/first --time-limit 60
      ncodec train spectral.toml -o runs/first --resume
    """  # noqa: D301
    from ncodec.training.config import read_config

    settings = read_config(config)
    folder = folder or Path("runs") / config.stem
    if not resume and (folder / "checkpoint.pt").exists():
        raise NcodecError(f"{folder}: holds a run already; --resume goes on with it")
    import torch

    from ncodec.training.loop import train as run

    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:  # what torch says of a device it lacks
        raise UsageError(f"--device {device}: {str(error).splitlines()[0]}") from None
    if threads is not None:
        torch.set_num_threads(threads)
    limit_s = math.inf if time_limit is None else 60 * time_limit
    finished = run(settings, folder, resume=resume, time_limit_s=limit_s, device=device)
    how = "finished" if finished else "stopped at the time limit; --resume goes on"
    say(f"{folder}: {how}", quiet=False)
