"""A training run's settings, read from TOML; unknown keys are refused."""

import tomllib
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from ncodec.errors import UsageError

MAX_DEPTH = 8  # of files that extend others


@dataclass(frozen=True, slots=True)
class DataConfig:
    """Where audio comes from and how crops are drawn."""

    folders: tuple[str, ...]
    packed: str  # path of the packed corpus, made once
    validation: tuple[str, ...]  # path patterns never trained on
    weights: tuple[tuple[str, float], ...]  # (path pattern, share of crops)
    seconds: float = 1.0
    gain_db: tuple[float, float] = (-6.0, 6.0)  # around the level it is coded at
    speed: float = 0.0  # share by which crops are played slower or faster, at most
    least_rate_hz: int = 0  # of files; those below it are left out
    repanned: float = 0.5  # share of crops in stereo with another width, balance, order of sides
    mix: float = 0.1  # share of crops with another crop mixed in below it
    # For a codec that takes noise away on request:
    noise: tuple[tuple[str, float], ...] = ()  # (path pattern, share of the noise)
    noise_db: tuple[float, float] = (0.0, 30.0)  # of the signal above it
    noisy: float = 1.0  # share of crops with noise
    denoise: float = 0.5  # share of crops that are to come out without it


@dataclass(frozen=True, slots=True)
class QuantiserConfig:
    """How codebooks learn."""

    decay: float = 0.98
    revive_every: int = 50
    fit_seconds: float = 600.0  # of audio for the k-means start
    n_q: tuple[int, ...] = (1, 2, 3, 4, 6, 8, 12, 16)  # drawn per example
    n_q_weights: tuple[float, ...] = (1, 4, 1, 4, 1, 4, 1, 4)


@dataclass(frozen=True, slots=True)
class OptimiserConfig:
    """AdamW, linear warm-up, cosine to a tenth."""

    steps: int = 10000
    batch_size: int = 16
    decoder_rate: float = 4e-4
    encoder_rate: float = 8e-5
    warmup: int = 200
    weight_decay: float = 1e-3
    clip: float = 1.0
    average: float = 0.999  # of the weights that are kept
    betas: tuple[float, float] = (0.9, 0.99)

    def __post_init__(self) -> None:
        if not isinstance(self.betas, tuple) or len(self.betas) != 2:
            raise TypeError(f"betas: expected [0.9, 0.99] or the like, found {self.betas!r}")


@dataclass(frozen=True, slots=True)
class LossConfig:
    """Weights of the losses, and which they are."""

    stft: float = 1.0
    heard: float = 1.0  # as stft, of the full signal
    mel: float = 1.0
    compressed: float = 0.0  # as stft, of magnitudes to the power 0.3
    samples: float = 0.0  # L1 of the waveform
    commitment: float = 4.0
    # "drawn": stft, heard and mel, of a few scales drawn again each step. "soundstream", "encodec",
    # "hilcodec": mel alone, of all scales, as in that paper.
    reconstruction: str = "drawn"
    balanced: bool = False  # weights, but that of commitment, are shares of the gradient
    balance_decay: float = 0.999  # of the averages of its norms


@dataclass(frozen=True, slots=True)
class AdversaryConfig:
    """Discriminators, and what they have to say. Without any kind there are none."""

    kinds: tuple[tuple[str, float], ...] = ()  # (kind, share of the two weights below)
    size: str = "full"
    fooling: float = 1.0  # weight of the adversarial loss
    features: float = 1.0  # weight of the distance of feature maps
    rate: float = 3e-4
    clip: float = 10.0
    probability: float = 1.0  # that they learn in a step
    starts: int = 0  # step from which they learn
    joins: int = 0  # step from which the codec learns from them
    seconds: float = 0.0  # of each crop that they hear; 0: all
    bfloat16: bool = True

    def __post_init__(self) -> None:
        if not all(isinstance(kind, tuple) and len(kind) == 2 for kind in self.kinds):
            raise TypeError(f'kinds: expected [["msstft", 1.0]] or the like, found {self.kinds!r}')


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """One run."""

    preset: str
    model_id: str
    licence: str
    data: DataConfig
    quantiser: QuantiserConfig
    optimiser: OptimiserConfig
    loss: LossConfig
    adversary: AdversaryConfig
    architecture: str = "spectral"
    seed: int = 1
    log_every: int = 50
    save_every: int = 500
    validate_every: int = 500  # steps; 0: never
    validate_clips: int = 12  # evenly spread over the names of all validation clips
    bfloat16: bool = True
    compile: bool = False  # ConvNeXt blocks by torch.compile: needs a C++ compiler
    start: str = ""  # "transform": the untrained networks of SEANet are a transform codec
    start_from: str = ""  # model file or id whose weights, codebooks too, the run begins with


def _build(kind: type, values: dict[str, Any], place: str) -> Any:
    if not isinstance(values, dict):
        raise UsageError(f"{place}: expected a table, found {values!r}")
    known = {field.name: field.type for field in fields(kind)}
    unknown = values.keys() - known.keys()
    if unknown:
        names = ", ".join(sorted(unknown))
        raise UsageError(f"{place}: unknown keys: {names}; known: {', '.join(known)}")
    built: dict[str, Any] = {}
    for name, value in values.items():
        inner = known[name]
        if isinstance(inner, type) and is_dataclass(inner):
            built[name] = _build(inner, value, f"{place} [{name}]")
        else:
            built[name] = _frozen(value)
    try:
        return kind(**built)
    except TypeError as error:
        raise UsageError(f"{place}: {error}") from None


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value


def _merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return `base` with `changes`, key by key in tables."""
    merged = dict(base)
    for name, value in changes.items():
        both = isinstance(value, dict) and isinstance(base.get(name), dict)
        merged[name] = _merge(base[name], value) if both else value
    return merged


def _values(path: Path, depth: int = 0) -> dict[str, Any]:
    """Return what a file says, with what it leaves to the file that it `extends`."""
    try:
        values = tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:  # not there, not TOML, not UTF-8
        raise UsageError(f"{path}: {error}") from None
    base = values.pop("extends", None)
    if base is None:
        return values
    if not isinstance(base, str) or depth == MAX_DEPTH:
        raise UsageError(
            f"{path}: extends: expected a file that does not lead back, found {base!r}"
        )
    return _merge(_values(path.parent / base, depth + 1), values)


def read_config(path: Path) -> TrainConfig:
    """Read a run's settings. Raises UsageError for bad TOML, unknown or missing keys.

    A file may say `extends = "other.toml"`, next to it: what it does not say itself is as there.
    """
    values = _values(path)
    for section in ("quantiser", "optimiser", "loss", "adversary"):
        values.setdefault(section, {})
    return _build(TrainConfig, values, str(path))
