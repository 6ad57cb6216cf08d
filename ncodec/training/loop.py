"""The training loop: one process or several, resumable, stops cleanly at a time limit.

Shapes: B batch, T samples, F frames, D latent.
"""

import copy
import math
import random
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ncodec.errors import UsageError
from ncodec.hub.codecs import CODECS, ModelFile, find, load_torch_codec, save_codec
from ncodec.hub.entropy_models import ENTROPY_MODELS, find_for, rebind
from ncodec.hub.model_files import SUPERSEDES
from ncodec.nn.convnext import ConvNeXtBlock
from ncodec.training.config import TrainConfig
from ncodec.training.data import Batch, Crops, PackedCorpus, pack
from ncodec.training.folder import load_checkpoint, log, save_checkpoint
from ncodec.training.objective import Objective
from ncodec.training.parallel import Workers
from ncodec.training.quantiser import FixedQuantiser, TrainedQuantiser
from ncodec.training.schedule import rate_factor
from ncodec.training.start import start
from ncodec.training.validation import Validation


@contextmanager
def stop_on_sigterm() -> Iterator[threading.Event]:
    """Give an event that SIGTERM sets; meanwhile the signal does not end the process."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # no other gets signals
        yield stop
        return
    before = signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, before)


class Run:
    """Model, optimiser and everything else that a checkpoint must hold."""

    def __init__(self, config: TrainConfig, folder: Path, device: str = "cpu") -> None:
        from ncodec.models.registry import architecture

        torch.manual_seed(config.seed)
        self.config, self.folder, self.device = config, folder, torch.device(device)
        self.workers = Workers(self.device)
        kind = architecture(config.architecture)
        if config.preset not in kind.presets:
            known = ", ".join(kind.presets)
            raise UsageError(f"preset {config.preset!r} of {kind.name} is unknown; known: {known}")
        if not kind.is_trainable:
            raise UsageError(f"architecture {kind.name!r}: models are imported, none are trained")
        n_channels = kind.presets[config.preset].n_channels
        if n_channels != 1 and kind.name != "spectral":
            raise UsageError(
                f"preset {config.preset!r} has {n_channels} channels: training is for codecs of "
                "one channel, and for spectral"
            )
        self.model = kind(kind.presets[config.preset])
        if config.start:
            start(self.model, config.start)
        self.model.to(self.device)
        self.quantiser = self._quantiser().to(self.device)
        encoder = [p for n, p in self.model.named_parameters() if n.startswith("encoder")]
        decoder = [p for n, p in self.model.named_parameters() if not n.startswith("encoder")]
        optimiser = config.optimiser
        self.optimiser = torch.optim.AdamW(
            [
                {"params": encoder, "peak": optimiser.encoder_rate},
                {"params": decoder, "peak": optimiser.decoder_rate},
            ],
            betas=optimiser.betas,
            weight_decay=optimiser.weight_decay,
            fused=True,
        )
        for parameter in encoder:
            parameter.requires_grad_(not self.codes_stay)
        self.average = copy.deepcopy(self.model)
        if config.compile:
            for part in self.model.modules():
                if isinstance(part, ConvNeXtBlock):
                    part.compile()
        self.objective = Objective(config, self.model.config.sample_rate_hz, self.workers)
        self.step = 0
        self.seconds = 0.0
        self.supersedes: list[str] = []  # fingerprints of models with the same codes
        self.rng = random.Random(config.seed)
        self._diverge()

    @property
    def codes_stay(self) -> bool:
        """Whether the decoder learns alone, so that all codes mean what they did."""
        return self.config.optimiser.encoder_rate == 0

    def _quantiser(self) -> TrainedQuantiser | FixedQuantiser:
        if self.codes_stay:
            return FixedQuantiser(self.model.quantiser, self.model.default_beam_width)
        return TrainedQuantiser(self.model.quantiser, self.config.quantiser.decay)

    def _diverge(self) -> None:
        """Give every process but the first random numbers of its own."""
        if not self.workers.is_first:
            seed = (self.config.seed * 1009 + self.workers.rank) * 1_000_003 + self.step
            torch.manual_seed(seed)
            self.rng.seed(seed)

    def state(self) -> dict[str, Any]:
        """Return all that `load` needs to go on exactly as if never stopped."""
        return {
            "model": self.model.state_dict(),
            "quantiser": self.quantiser.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": self.average.state_dict(),
            "objective": self.objective.state(),
            "step": self.step,
            "seconds": self.seconds,
            "stands_for": self.supersedes,
            "torch_rng": torch.get_rng_state(),
            "python_rng": self.rng.getstate(),
        }

    def save(self) -> None:
        """Write the checkpoint."""
        if self.workers.is_first:
            save_checkpoint(self.folder, self.state())

    def load(self) -> None:
        """Go on from the checkpoint in the run's folder."""
        state = load_checkpoint(self.folder)
        self.model.load_state_dict(state["model"])
        self.quantiser.load_state_dict(state["quantiser"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.average.load_state_dict(state["average"])
        self.objective.load(state.get("objective", {}))
        self.step, self.seconds = state["step"], state["seconds"]
        self.supersedes = state.get("stands_for", [])
        torch.set_rng_state(state["torch_rng"])
        version, internal, gauss = state["python_rng"]
        self.rng.setstate((version, tuple(internal), gauss))
        self._diverge()

    @torch.no_grad()
    def start_codebooks(self, crops: Crops) -> None:
        """Fit the codebooks to latents of the untrained encoder."""
        n_batches = math.ceil(
            self.config.quantiser.fit_seconds
            / (self.config.data.seconds * self.config.optimiser.batch_size)
        )
        latents: list[Tensor] = []

        def keep(found: Tensor) -> Tensor:
            latents.append(found.reshape(-1, found.shape[-1]))
            return found

        if not self.workers.is_first:
            n_batches = 0
        assert isinstance(self.quantiser, TrainedQuantiser)
        for drawn in islice(crops.batches(self.config.optimiser.batch_size, seed=0), n_batches):
            batch = drawn.to(self.device)
            self.model.reconstruct(self._by_channel(batch.wav), keep, batch.denoise)
        if self.workers.is_first:
            self.quantiser.fit(torch.cat(latents))
        self.workers.share(self.quantiser.buffers())

    def start_from(self, name: str) -> None:
        """Begin with the weights and codebooks of a model, given by its file or its id."""
        found = CODECS.describe(Path(name)) if Path(name).is_file() else find(name)
        try:
            self.model.load_state_dict(load_torch_codec(found).state_dict())
        except RuntimeError:
            raise UsageError(
                f"start_from {name!r}: weights of {found.architecture} that do not fit preset "
                f"{self.config.preset!r} of {self.config.architecture}"
            ) from None
        self.quantiser.restart()
        self.average.load_state_dict(self.model.state_dict())
        if self.codes_stay:
            self.supersedes = found.compatible()
            if self.workers.is_first:
                self._take_entropy_model(found)

    def _by_channel(self, wav: Tensor) -> Tensor:
        """Return [B, T] or [B, C, T] as [B, C, T]."""
        return wav.view(len(wav), self.model.config.n_channels, -1)

    def _train_step(self, batch: Batch) -> dict[str, Tensor]:
        config, settings = self.config, self.config.quantiser
        drawn = self.rng.choices(settings.n_q, settings.n_q_weights, k=len(batch.wav))
        n_q = torch.tensor(drawn, device=self.device)
        results = []

        revive = self.step % settings.revive_every == settings.revive_every - 1

        def quantise(latents: Tensor) -> Tensor:
            results.append(self.quantiser(latents, n_q, revive=revive))
            return results[-1].latents

        with torch.autocast(self.device.type, torch.bfloat16, enabled=config.bfloat16):
            wav = self._by_channel(batch.wav)
            made = self.model.reconstruct(wav, quantise, batch.denoise, n_q)
        factor = rate_factor(self.step, config.optimiser.warmup, config.optimiser.steps)
        for group in self.optimiser.param_groups:
            group["lr"] = group["peak"] * factor
        self.optimiser.zero_grad(set_to_none=True)
        losses = self.objective.backward(
            batch.target, made, results[0].commitment, self.step, self.rng
        )
        self.workers.average(p.grad for p in self.model.parameters() if p.grad is not None)
        self.quantiser.synchronise(self.workers, revived=revive)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), config.optimiser.clip)
        self.optimiser.step()
        self._move_average()
        return {**losses, "left": results[0].relative_error, "gradient": norm}

    @torch.no_grad()
    def _move_average(self) -> None:
        keep = min(self.config.optimiser.average, (self.step + 1) / (self.step + 10))
        for slow, fast in zip(self.average.parameters(), self.model.parameters(), strict=True):
            slow.lerp_(fast, 1 - keep)
        self.average.quantiser.codebooks.copy_(self.model.quantiser.codebooks)

    def train(self, crops: Crops, time_limit_s: float) -> bool:
        """Train until the last step, the time limit or SIGTERM, and save.

        Returns whether the run is finished.
        """
        with stop_on_sigterm() as stop:
            return self._train(crops, time_limit_s, stop)

    def _train(self, crops: Crops, time_limit_s: float, stop: threading.Event) -> bool:
        config, start = self.config, time.monotonic()
        before, logged = self.seconds, start
        sums: dict[str, float] = {}
        validation = Validation(crops.corpus, config, crops.sample_rate_hz, self.folder)
        batches = crops.batches(
            config.optimiser.batch_size, config.seed + 1, self.step, self.workers.rank
        )
        bar = tqdm(
            total=config.optimiser.steps, initial=self.step, unit="step",
            disable=None if self.workers.is_first else True,
        )  # fmt: skip
        self.model.train()
        while self.step < config.optimiser.steps and self.workers.agree(
            time.monotonic() - start < time_limit_s and not stop.is_set()
        ):
            losses = self._train_step(next(batches).to(self.device))
            self.step += 1
            bar.update()
            self.seconds = before + time.monotonic() - start
            for name, loss in losses.items():
                sums[name] = sums.get(name, 0.0) + loss.item() / config.log_every
            if self.step % config.log_every == 0:
                now = time.monotonic()
                self._log(sums | {"audio_s_per_s": self._audio_seconds() / (now - logged)})
                sums, logged = {}, now
            if self.step % config.save_every == 0:
                self.save()
                self.export()
            if validation.is_due(self.step):
                bar.set_postfix(self._validate(validation))
        self.save()
        self.export()
        if validation.is_due_at_end(self.step):
            self._validate(validation)
        return self.step >= config.optimiser.steps

    def _audio_seconds(self) -> float:
        """Return the audio between two rows of the log, of all processes."""
        config = self.config
        crops = config.log_every * config.optimiser.batch_size * self.workers.count
        return crops * config.data.seconds

    def _log(self, means: dict[str, float]) -> None:
        if not self.workers.is_first:
            return
        row = {"step": self.step, "seconds": round(self.seconds, 1)}
        row |= {name: float(np.format_float_positional(v, 5)) for name, v in means.items()}
        log(self.folder, row)

    def _validate(self, validation: Validation) -> dict[str, float]:
        """Validate the averaged weights. Returns the mel distance at the default bandwidth."""
        if not self.workers.is_first:
            return {}
        found = validation.run(self.average, self.step, self.seconds)
        usual = f"mel_{self.model.config.default_bandwidth_kbps:g}"
        return {usual: found[usual]} if usual in found else {}

    def export(self) -> None:
        """Write the averaged weights as a model file."""
        if not self.workers.is_first:
            return
        facts: dict[str, Any] = {
            "steps": self.step,
            "hours": round(self.seconds / 3600, 2),
            "device": self.device.type,
            "licence": self.config.licence,
        }
        if self.config.start_from:
            facts["start_from"] = Path(self.config.start_from).name.removesuffix(".safetensors")
        if self.supersedes:
            facts[SUPERSEDES] = self.supersedes
        path = self.folder / f"{self.config.model_id}.safetensors"
        save_codec(path, self.config.model_id, self.average, facts)
        if self._first_entropy_model.exists():
            first = ENTROPY_MODELS.describe(self._first_entropy_model)
            rebind(first, CODECS.describe(path), self._entropy_model)

    @property
    def _entropy_model(self) -> Path:
        return self.folder / "entropy" / f"{self.config.model_id}.safetensors"

    @property
    def _first_entropy_model(self) -> Path:
        """Where that of the model that the run began with is kept, while codes stay."""
        return self.folder / "start_from" / "entropy.safetensors"

    def _take_entropy_model(self, codec: ModelFile) -> None:
        """Keep the entropy model of a codec, if it has one."""
        kept, found = self._first_entropy_model, find_for(codec)
        kept.parent.mkdir(parents=True, exist_ok=True)
        for left in (kept, self._entropy_model):  # by another run
            left.unlink(missing_ok=True)
        if found is not None:
            shutil.copyfile(found.path, kept)


def train(
    config: TrainConfig, folder: Path, *, resume: bool, time_limit_s: float, device: str
) -> bool:
    """Run `config` in `folder`. Returns whether it came to its last step."""
    folder.mkdir(parents=True, exist_ok=True)
    packed = Path(config.data.packed)
    run = Run(config, folder, device)
    if run.model.can_denoise != bool(config.data.noise):
        needs = "needs" if run.model.can_denoise else "cannot use"
        raise UsageError(f"preset {config.preset!r} {needs} [data] noise")
    if run.codes_stay and not config.start_from:
        raise UsageError("[optimiser] encoder_rate = 0 leaves the encoder alone: name start_from")
    resumes = resume and (folder / "checkpoint.pt").exists()
    if config.start_from and not resumes:
        run.start_from(config.start_from)
    if run.workers.is_first and not packed.with_suffix(".npy").exists():
        folders = [Path(name) for name in config.data.folders]
        pack(
            folders, run.model.config.sample_rate_hz, packed,
            n_channels=run.model.config.n_channels, least_rate_hz=config.data.least_rate_hz,
        )  # fmt: skip
    run.workers.agree(True)  # all wait until it is packed
    corpus = PackedCorpus(packed, config.data.validation)
    if corpus.n_channels != run.model.config.n_channels:
        raise UsageError(
            f"{packed}.npy: {corpus.n_channels} channels, preset {config.preset!r} has "
            f"{run.model.config.n_channels}: remove the file or name another as [data] packed"
        )
    crops = Crops(corpus, config.data, run.model.config.sample_rate_hz, level=run.model.coded_level)
    if resumes:
        run.load()
    elif not config.start_from:
        run.start_codebooks(crops)
    return run.train(crops, time_limit_s)
