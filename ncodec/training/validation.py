"""Validation while a run goes on: clips never trained on, through the codec as it is by then.

Shapes: C channels, T samples.
"""

import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ncodec.audio import write
from ncodec.audio.base import Audio
from ncodec.audio.distances import mel_distance, si_sdr
from ncodec.models.torch_codec import TorchCodec
from ncodec.training.config import TrainConfig
from ncodec.training.data import PackedClip, PackedCorpus
from ncodec.training.folder import log_validation, validated_step

SECONDS = 5.0  # of each clip, from its middle; less than a packet, so that each is coded as one
N_SAMPLES = 4  # clips that are kept to be listened to


def choose(clips: list[PackedClip], at_most: int, n_samples: int) -> list[PackedClip]:
    """Return the middles of clips, evenly spread over their names, `n_samples` of each."""
    clips = sorted((clip for clip in clips if clip.n_samples), key=lambda clip: clip.path)
    if len(clips) > at_most:  # the middles of as many equal parts
        clips = [clips[(2 * k + 1) * len(clips) // (2 * at_most)] for k in range(at_most)]
    lengths = [min(clip.n_samples, n_samples) for clip in clips]
    return [
        PackedClip(clip.path, clip.start + (clip.n_samples - n) // 2, n)
        for clip, n in zip(clips, lengths, strict=True)
    ]


def at_bandwidths(codec: TorchCodec, wav: Tensor) -> Iterator[tuple[float, Audio]]:
    """Yield each usual bandwidth in kbit/s, and [C, T] as it sounds when coded at that, [C, T].

    Mono may be given to any codec: its channels are averaged.
    """
    config = codec.config
    heard = wav.to(codec.quantiser.codebooks.device).expand(config.n_channels, -1)
    for kbps in config.bandwidths_kbps:
        coded = codec.encode(heard[None], config.n_q_for(kbps))
        made = codec.decode(coded, wav.shape[1])
        yield kbps, (made.mean(1) if len(wav) == 1 else made[0]).cpu().numpy()


class Validation:
    """What is measured every so many steps, and the samples that are kept."""

    def __init__(
        self, corpus: PackedCorpus, config: TrainConfig, sample_rate_hz: int, folder: Path
    ) -> None:
        self.every = config.validate_every if config.validate_clips > 0 else 0
        self._corpus, self._folder, self._rate = corpus, folder, sample_rate_hz
        self._clips: list[PackedClip] = []
        if self.every > 0:
            n_samples = round(SECONDS * sample_rate_hz)
            self._clips = choose(corpus.validation, config.validate_clips, n_samples)

    def is_due(self, step: int) -> bool:
        """Whether it is time, in the midst of a run."""
        return bool(self._clips) and step % self.every == 0

    def is_due_at_end(self, step: int) -> bool:
        """Whether a run that ends here has not been validated here."""
        return bool(self._clips) and validated_step(self._folder) != step

    def run(self, codec: TorchCodec, step: int, seconds: float) -> dict[str, float]:
        """Add a row to validation.csv, and samples. Returns the figures.

        Nothing random is drawn, and the codec is left as it was.
        """
        was_training = codec.training
        codec.eval()
        found: dict[str, list[float]] = {}
        apart = math.ceil(len(self._clips) / N_SAMPLES)
        for number, clip in enumerate(self._clips):
            wav = torch.atleast_2d(self._corpus.read(clip))
            for kbps, made in at_bandwidths(codec, wav):
                for name, value in self._figures(wav.numpy(), made).items():
                    found.setdefault(f"{name}_{kbps:g}", []).append(value)
                if number % apart == 0 and np.isfinite(made).all():
                    self._keep(number, "original", wav.numpy(), overwrite=False)
                    self._keep(number, f"{step}_{kbps:g}kbps", made)
        codec.train(was_training)
        figures = {name: round(sum(values) / len(values), 4) for name, values in found.items()}
        log_validation(self._folder, {"step": step, "seconds": round(seconds, 1), **figures})
        return figures

    def _figures(self, wav: Audio, made: Audio) -> dict[str, float]:
        if not np.isfinite(made).all():  # the run has come apart
            return {"mel": math.nan, "si_sdr": math.nan}
        ratio = si_sdr(wav, made, self._rate)
        figures = {"mel": mel_distance(wav, made, self._rate)}
        return figures if ratio is None else {**figures, "si_sdr": ratio}

    def _keep(self, number: int, name: str, wav: Audio, *, overwrite: bool = True) -> None:
        """Write a sample of a clip; the clip's number keeps names apart that are alike."""
        title = re.sub(r"(?a)\W+", "-", Path(self._clips[number].path).with_suffix("").as_posix())
        place = self._folder / "samples" / f"{number + 1}-{title[-48:]}" / f"{name}.flac"
        if overwrite or not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            write(place, wav, self._rate, overwrite=overwrite)
