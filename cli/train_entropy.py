"""`ncodec train-entropy`: train an entropy model for the codes of a codec model."""

import math
from pathlib import Path

import click

from ncodec.cli.options import (
    check_run_folder,
    device_option,
    held_out_option,
    prepare_torch,
    resume_option,
    time_limit_option,
    training_threads_option,
)
from ncodec.cli.progress import say


@click.command("train-entropy")
@click.argument("model")
@click.argument("data", nargs=-1, required=True, metavar="DATA...", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    "folder",
    required=True,
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Folder of the run.",
)
@held_out_option("Leave out the files")
@click.option(
    "--validation",
    multiple=True,
    metavar="PATTERN",
    help="Leave out files whose path below DATA matches; may be given several times.",
)
@click.option("--steps", type=click.IntRange(min=1), metavar="N", help="Number of steps.")
@click.option("--licence", default="unknown", help="Licence to write into the model file.")
@resume_option()
@time_limit_option()
@device_option()
@training_threads_option()
def train_entropy(
    model: str, data: tuple[Path, ...], folder: Path, held_out: Path | None,
    validation: tuple[str, ...], steps: int | None, licence: str, resume: bool,
    time_limit: float | None, device: str, threads: int | None,
) -> None:  # fmt: skip
    """Train an entropy model for the codes of a codec.

    MODEL is the codec's id, DATA are folders or files of any audio. The audio is coded once, at
    several playing speeds; the codes stay in FOLDER, with a checkpoint and log.csv. At the end
    FOLDER holds the model file too. Copied to models/entropy/ of the cache, it is used by default.

    Files left out by --held-out or --validation are used to measure the model.

    \b
    Examples:
      ncodec train-entropy spectral music/ speech/ -o runs/entropy --time-limit 60
      ncodec train-entropy spectral music/ speech/ -o runs/entropy --resume
    """  # noqa: D301
    from dataclasses import replace

    from ncodec.hub.codecs import find
    from ncodec.training.config import read_config

    patterns = validation + (read_config(held_out).data.validation if held_out else ())
    codec = find(model)
    check_run_folder(folder, resume=resume)
    from ncodec.training.entropy_loop import EntropySettings
    from ncodec.training.entropy_loop import train_entropy as run

    prepare_torch(device, threads)
    settings = EntropySettings()
    if steps is not None:
        settings = replace(settings, steps=steps)
    finished = run(
        codec, data, folder, settings, validation=patterns, licence=licence, resume=resume,
        time_limit_s=math.inf if time_limit is None else 60 * time_limit, device=device,
    )  # fmt: skip
    how = "finished" if finished else "stopped at the time limit; --resume goes on"
    say(f"{folder}: {how}", quiet=False)
