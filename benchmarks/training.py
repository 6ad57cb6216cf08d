"""Cost of a training step on one thread: audio-seconds a second of processor time.

    python benchmarks/training.py [--steps 20] [CONFIG ...]

Each configuration (by default those of `spectral` that train from the start, alone and with each
small discriminator that a CPU can afford) takes steps on noise, so no corpus is needed. The time is
that of the process: other work on the machine costs a little, by the caches, but is not counted.
"""

import argparse
import dataclasses
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

import ncodec
from ncodec.native.threads import set_n_threads
from ncodec.training.config import AdversaryConfig, TrainConfig, read_config
from ncodec.training.data import Batch
from ncodec.training.loop import Run

CONFIGS = Path(ncodec.__file__).parent / "training/configs"
WARM_UP = 4  # steps, in which the compiler works
ADVERSARIES = {
    "no adversary": AdversaryConfig(),
    "msstft": AdversaryConfig((("msstft", 1.0),), size="small", seconds=0.5),
    "mdct": AdversaryConfig((("mdct", 1.0),), size="small"),
    "mdct, half": AdversaryConfig((("mdct", 1.0),), size="small", seconds=0.5),
}


def audio_seconds_a_second(config: TrainConfig, n_steps: int) -> float:
    """Return how much audio goes through in a second of processor time."""
    with tempfile.TemporaryDirectory() as folder:
        run = Run(config, Path(folder))
        run.model.train()
        n_samples = round(config.data.seconds * run.model.config.sample_rate_hz)
        wav = 0.1 * torch.randn(config.optimiser.batch_size, n_samples)
        for step in range(WARM_UP + n_steps):
            if step == WARM_UP:
                start = time.process_time()
            run._train_step(Batch(wav, wav, None))
            run.step += 1
        spent = time.process_time() - start
    return n_steps * config.optimiser.batch_size * config.data.seconds / spent


def cases(paths: list[Path]) -> Iterator[tuple[str, TrainConfig]]:
    """Yield what is measured, with its name."""
    for path in paths:
        config = read_config(path)
        config = dataclasses.replace(
            config, optimiser=dataclasses.replace(config.optimiser, batch_size=8)
        )
        for name, adversary in ADVERSARIES.items():
            yield f"{path.stem}, {name}", dataclasses.replace(config, adversary=adversary)


def main() -> None:
    """Print a row for each case."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    default = [CONFIGS / "spectral.toml", CONFIGS / "spectral-wide.toml"]
    parser.add_argument("configs", nargs="*", type=Path, default=default)
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    set_n_threads(1)
    for name, config in cases(arguments.configs):
        speed = audio_seconds_a_second(config, arguments.steps)
        print(f"{name:32} {speed:6.1f} audio-seconds a second", flush=True)


if __name__ == "__main__":
    main()
