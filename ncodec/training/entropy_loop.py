"""Training of an entropy model: resumable, stops cleanly at a time limit.

Shapes: B rows, Q codebooks, F frames, K codes.
"""

import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ncodec.entropy.layout import EntropyConfig, check_sizes
from ncodec.entropy.network import load
from ncodec.entropy.transformer import TransformerCoder
from ncodec.hub.codecs import ModelFile, load_codec, load_torch_codec
from ncodec.hub.entropy_models import save_network
from ncodec.models.torch_codec import TorchCodec
from ncodec.training.codes import CodesCorpus, CodesSource, pack_codes
from ncodec.training.entropy import EntropyTrainer
from ncodec.training.folder import load_checkpoint, log, save_checkpoint
from ncodec.training.loop import stop_on_sigterm
from ncodec.training.schedule import rate_factor

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
    save_every: int = 200
    bfloat16: bool = True


class EntropyRun:
    """Model, optimiser and everything else that a checkpoint must hold."""

    def __init__(
        self, codec: TorchCodec, corpus: CodesCorpus, settings: EntropySettings, folder: Path,
        config: EntropyConfig | None = None, device: str = "cpu",
    ) -> None:  # fmt: skip
        torch.manual_seed(settings.seed)
        self.settings, self.corpus, self.folder = settings, corpus, folder
        self.device = torch.device(device)
        sizes = codec.config
        self.config = config or EntropyConfig(sizes.n_codebooks, sizes.codebook_size)
        check_sizes(self.config)  # before hours are spent on them
        # The n_q that files come with, and now and then any other.
        usual = [sizes.n_q_for(kbps) for kbps in sizes.bandwidths_kbps]
        self.odds = np.full(sizes.n_codebooks, 0.1 / sizes.n_codebooks)
        self.odds[np.array(usual) - 1] += 0.9 / len(usual)
        self.usual = usual
        self.model = EntropyTrainer(self.config)
        self.model.start_from(codec.quantiser.vectors(), self._counts())
        self.model.to(self.device)
        self.optimiser = torch.optim.Adam(
            self.model.parameters(), lr=0.0, betas=(0.9, 0.98), fused=True
        )
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
        """Write the checkpoint."""
        save_checkpoint(self.folder, self.state())

    def load(self) -> None:
        """Go on from the checkpoint in the run's folder."""
        state = load_checkpoint(self.folder)
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
        """Train until the last step, the time limit or SIGTERM, and save.

        Returns whether the run is finished.
        """
        with stop_on_sigterm() as stop:
            return self._train(time_limit_s, stop)

    def _train(self, time_limit_s: float, stop: threading.Event) -> bool:
        settings, start, before = self.settings, time.monotonic(), self.seconds
        sums: dict[int, list[float]] = {n_q: [] for n_q in self.usual}
        batches = self.corpus.batches(
            settings.batch_size, settings.n_frames, settings.seed, self.step
        )
        bar = tqdm(total=settings.steps, initial=self.step, unit="step", disable=None)
        while (
            self.step < settings.steps
            and time.monotonic() - start < time_limit_s
            and not stop.is_set()
        ):
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
        log(self.folder, row)

    def facts(self) -> dict[str, Any]:
        """Return what the model file says of its training.

        With validation clips, that is what it costs too: bits of payload per code, and the code
        length of the same weights with nothing rounded.
        """
        found: dict[str, Any] = {
            "steps": self.step,
            "hours": round(self.seconds / 3600, 2),
            "device": self.device.type,
        }
        clips = self.corpus.validation[:: max(1, len(self.corpus.validation) // 60)]
        if clips:
            codes = [self.corpus.read(clip)[:, :VALIDATION_FRAMES] for clip in clips]
            for name, cost in (("", self._spent), ("_unrounded", self._unrounded)):
                found[f"bits_per_code{name}"] = {
                    n_q: round(cost(codes, n_q) / (n_q * sum(c.shape[1] for c in codes)), 4)
                    for n_q in self.usual
                }
        return found

    def _spent(self, clips: Sequence[Tensor], n_q: int) -> int:
        """Return the bits that coding [Q, F] codes takes, each as a key packet."""
        network = load(self.config, self.model.integers())
        coder = TransformerCoder(
            n_streams=1, n_codebooks=n_q, codebook_size=self.config.codebook_size, network=network
        )
        return sum(8 * len(coder.encode(codes[None, :n_q].numpy())) for codes in clips)

    @torch.no_grad()
    def _unrounded(self, clips: Sequence[Tensor], n_q: int) -> float:
        """Return the code length of [Q, F] codes with nothing rounded, in bits."""
        return sum(
            float(self.model.bits(codes[None].to(self.device), n_q, exact=False).sum())
            for codes in clips
        )


def train_entropy(
    codec_file: ModelFile, data: Sequence[Path], folder: Path, settings: EntropySettings, *,
    sizes: EntropyConfig | None = None, validation: Sequence[str] = (), licence: str = "",
    resume: bool = False, time_limit_s: float = math.inf, device: str = "cpu",
) -> bool:  # fmt: skip
    """Train an entropy model for the codes of a codec in `folder`.

    data        folders and files of audio; coded on the first run, into codes.npy in `folder`
    sizes       of the network; by default those of EntropyConfig
    validation  path patterns, never trained on

    Returns whether it came to its last step. Raises UsageError if the codes in the folder are those
    of another codec, other data or another choice of validation. The folder then holds the model
    file, named after the codec, with what it costs on the validation clips: as it is, and in
    floating point.
    """
    folder.mkdir(parents=True, exist_ok=True)
    codec, packed = load_torch_codec(codec_file), folder / "codes"
    source = CodesSource(codec_file.sha256, tuple(map(str, data)), tuple(validation))
    if not packed.with_suffix(".json").exists():
        pack_codes(load_codec(codec_file), source, packed)
    corpus = CodesCorpus(packed, source)
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
