"""Training of an entropy model: resumable, stops cleanly at a time limit.

Shapes: B rows, Q codebooks, F frames, K codes.
"""

import csv
import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ncodec.entropy.network import EntropyConfig
from ncodec.entropy_models import save_network
from ncodec.models.base import Codec
from ncodec.training.codes import CodesCorpus, pack_codes
from ncodec.training.entropy import EntropyTrainer
from ncodec.training.loop import rate_factor
from ncodec.weights import ModelFile, load_codec

VALIDATION_FRAMES = 750  # of a crop: 10 s at 75 frames a second, as a packet


@dataclass(frozen=True, slots=True)
class EntropySettings:
    """How an entropy model is trained."""

    steps: int = 8500
    batch_size: int = 8  # rows
    n_frames: int = 256  # of a row
    rate: float = 2e-3  # of Adam, at its peak
    warmup: int = 200
    clip: float = 1.0
    seed: int = 1
    log_every: int = 50
    save_every: int = 500
    bfloat16: bool = True


class EntropyRun:
    """Model, optimiser and everything else that a checkpoint must hold."""

    def __init__(
        self, codec: Codec, corpus: CodesCorpus, settings: EntropySettings, folder: Path,
        config: EntropyConfig | None = None, device: str = "cpu",
    ) -> None:  # fmt: skip
        torch.manual_seed(settings.seed)
        self.settings, self.corpus, self.folder = settings, corpus, folder
        self.device = torch.device(device)
        sizes = codec.config
        self.config = config or EntropyConfig(sizes.n_codebooks, sizes.codebook_size)
        # The n_q that files come with, and now and then any other.
        usual = [sizes.n_q_for(kbps) for kbps in sizes.bandwidths_kbps]
        self.odds = np.full(sizes.n_codebooks, 0.1 / sizes.n_codebooks)
        self.odds[np.array(usual) - 1] += 0.9 / len(usual)
        self.usual = usual
        self.model = EntropyTrainer(self.config)
        self.model.start_from(codec.quantiser.codebooks, self._counts())
        self.model.to(self.device)
        self.optimiser = torch.optim.Adam(self.model.parameters(), lr=0.0, betas=(0.9, 0.98))
        self.step, self.seconds = 0, 0.0

    def _counts(self) -> Tensor:
        """Return how often each code occurs in training, [Q, K], of a sample of the clips."""
        size = self.config.codebook_size
        counts = np.zeros((self.config.n_codebooks, size))
        for clip in self.corpus.training[:: max(1, len(self.corpus.training) // 2000)]:
            for q, codes in enumerate(self.corpus.read(clip).numpy()):
                counts[q] += np.bincount(codes, minlength=size)
        return torch.from_numpy(counts).float()

    def state(self) -> dict[str, Any]:
        """Return all that `load` needs to go on exactly as if never stopped."""
        return {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }

    def save(self) -> None:
        """Write the checkpoint beside, then rename: a killed run keeps the one before."""
        beside = self.folder / ".checkpoint.tmp"
        torch.save(self.state(), beside)
        os.replace(beside, self.folder / "checkpoint.pt")  # noqa: PTH105

    def load(self) -> None:
        """Go on from the checkpoint in the run's folder."""
        state = torch.load(self.folder / "checkpoint.pt", map_location="cpu", weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.seconds = state["step"], state["seconds"]

    def _train_step(self, codes: Tensor) -> tuple[int, Tensor]:
        """Take a step on [B, Q, F] codes. Returns n_q and the bits per code."""
        settings = self.settings
        rng = np.random.default_rng((settings.seed, self.step, 1))
        n_q = 1 + int(rng.choice(len(self.odds), p=self.odds))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=settings.bfloat16):
            bits = self.model.bits(codes, n_q).sum() / (n_q * codes[:, 0].numel())
        factor = rate_factor(self.step, settings.warmup, settings.steps)
        for group in self.optimiser.param_groups:
            group["lr"] = settings.rate * factor
        self.optimiser.zero_grad(set_to_none=True)
        bits.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip)
        self.optimiser.step()
        return n_q, bits.detach()

    def train(self, time_limit_s: float) -> bool:
        """Train until the last step or the time limit. Returns whether the run is finished."""
        settings, start, before = self.settings, time.monotonic(), self.seconds
        sums: dict[int, list[float]] = {n_q: [] for n_q in self.usual}
        batches = self.corpus.batches(
            settings.batch_size, settings.n_frames, settings.seed, self.step
        )
        bar = tqdm(total=settings.steps, initial=self.step, unit="step", disable=None)
        while self.step < settings.steps and time.monotonic() - start < time_limit_s:
            n_q, bits = self._train_step(next(batches).to(self.device))
            if n_q in sums:
                sums[n_q].append(bits.item())
            self.step += 1
            bar.update()
            self.seconds = before + time.monotonic() - start
            if self.step % settings.log_every == 0:
                self._log({f"n_q_{n}": np.mean(found) if found else math.nan
                           for n, found in sums.items()})  # fmt: skip
                sums = {n_q: [] for n_q in self.usual}
            if self.step % settings.save_every == 0:
                self.save()
        self.save()
        return self.step >= settings.steps

    def _log(self, means: dict[str, Any]) -> None:
        row = {"step": self.step, "seconds": round(self.seconds, 1)}
        row |= {name: round(float(value), 4) for name, value in means.items()}
        with (self.folder / "log.csv").open("a", newline="") as stream:
            writer = csv.DictWriter(stream, list(row))
            if stream.tell() == 0:
                writer.writeheader()
            writer.writerow(row)

    def facts(self) -> dict[str, Any]:
        """Return what the model file says of its training."""
        exact = {n_q: self.validate(n_q, exact=True) for n_q in self.usual}
        real = {n_q: self.validate(n_q, exact=False) for n_q in self.usual}
        return {
            "steps": self.step,
            "hours": round(self.seconds / 3600, 2),
            "device": self.device.type,
            "bits_per_code": {n_q: round(bits, 4) for n_q, bits in exact.items()},
            "bits_per_code_unrounded": {n_q: round(bits, 4) for n_q, bits in real.items()},
        }

    @torch.no_grad()
    def validate(self, n_q: int, *, exact: bool, limit: int = 60) -> float:
        """Return the bits per code of the validation clips, each coded from a start of its own."""
        bits = n_codes = 0.0
        clips = self.corpus.validation
        for clip in clips[:: max(1, len(clips) // limit)]:
            codes = self.corpus.read(clip)[None, :, :VALIDATION_FRAMES].to(self.device)
            bits += float(self.model.bits(codes, n_q, exact=exact).sum())
            n_codes += n_q * codes.shape[-1]
        return bits / max(1.0, n_codes)


def train_entropy(
    codec_file: ModelFile, data: Sequence[Path], folder: Path, settings: EntropySettings, *,
    sizes: EntropyConfig | None = None, validation: Sequence[str] = (), licence: str = "",
    resume: bool = False, time_limit_s: float = math.inf, device: str = "cpu",
) -> bool:  # fmt: skip
    """Train an entropy model for the codes of a codec in `folder`.

    data        folders and files of audio; coded on the first run, into codes.npy in `folder`
    sizes       of the network; by default those of EntropyConfig
    validation  path patterns, never trained on

    Returns whether it came to its last step. The folder then holds the model file, named after the
    codec, with what it costs on the validation clips: as it is, and in floating point.
    """
    folder.mkdir(parents=True, exist_ok=True)
    codec, packed = load_codec(codec_file), folder / "codes"
    if not packed.with_suffix(".json").exists():
        pack_codes(codec, data, validation, packed)
    corpus = CodesCorpus(packed, validation)
    run = EntropyRun(codec, corpus, settings, folder, sizes, device)
    if resume and (folder / "checkpoint.pt").exists():
        run.load()
    finished = run.train(time_limit_s)
    path = folder / f"{codec_file.model_id}.safetensors"
    save_network(
        path, codec_file.model_id, codec_file, run.config, run.model.integers(),
        {**run.facts(), "licence": licence},
    )  # fmt: skip
    return finished
