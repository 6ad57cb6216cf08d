"""`ncodec train`: train a codec model."""

import math
from pathlib import Path

import click

from ncodec.cli.options import (
    check_run_folder,
    device_option,
    prepare_torch,
    resume_option,
    time_limit_option,
    training_threads_option,
)
from ncodec.cli.progress import say


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
@resume_option()
@time_limit_option()
@device_option()
@training_threads_option()
def train(
    config: Path, folder: Path | None, resume: bool, time_limit: float | None, device: str,
    threads: int | None,
) -> None:  # fmt: skip
    """Train a codec model.

    CONFIG is a TOML file with the settings.

    The folder then holds the model file, MODEL.safetensors, a checkpoint, log.csv, and the
    validation results: validation.csv and samples/.

    \b
    Examples:
      ncodec train spectral.toml -o runs/first --time-limit 60
      ncodec train spectral.toml -o runs/first --resume
    """  # noqa: D301
    from ncodec.training.config import read_config

    settings = read_config(config)
    folder = folder or Path("runs") / config.stem
    check_run_folder(folder, resume=resume)
    from ncodec.training.loop import train as run

    prepare_torch(device, threads)
    limit_s = math.inf if time_limit is None else 60 * time_limit
    finished = run(settings, folder, resume=resume, time_limit_s=limit_s, device=device)
    how = "finished" if finished else "stopped at the time limit; --resume goes on"
    say(f"{folder}: {how}", quiet=False)
