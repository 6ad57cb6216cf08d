"""What is measured of a decoded signal against the original; docs/EVALUATION.md tells more.

Shapes: C channels, T samples. Both signals are aligned and of one length.
"""

import functools
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from ncodec.audio import resample
from ncodec.audio.base import Audio
from ncodec.audio.distances import is_silent, mel_distance, si_sdr, stft_distance
from ncodec.errors import UsageError
from ncodec.evaluation.stereo import ic_error, ild_error, ipd_error
from ncodec.evaluation.transients import pre_echo

EXTRA = "pip install 'ncodec[evaluate,pesq]'"
PESQ_HZ, VISQOL_HZ = 16000, 48000
LOWEST_VISQOL = 1.0
# The package pesq has room for 50 utterances, and none is shorter, with its pause, than 0.4 s:
# beyond that it writes where it must not.
PESQ_SECONDS = 20.0

Compute = Callable[[Audio, Audio, int], float | None]


@dataclass(frozen=True, slots=True)
class Metric:
    """One column of the report.

    compute  (reference [C, T], estimate [C, T], sample rate) -> value, None if there is none
    """

    key: str
    title: str
    digits: int
    higher_is_better: bool
    speech_only: bool
    module: str  # beyond what ncodec needs; "" if nothing
    package: str  # that it is in
    definition: str
    compute: Compute
    with_stereo: bool = False  # by default only where a clip is stereo


def stoi(reference: Audio, estimate: Audio, sample_rate_hz: int) -> float | None:
    """Return STOI of the mono mix, None where less than 0.4 s of it is not silent."""
    if is_silent(reference):
        return None
    compute = import_module("pystoi").stoi
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # that there is too little to measure
        try:
            value = float(compute(reference.mean(0), estimate.mean(0), sample_rate_hz))
        except RuntimeWarning:
            return None
    return value if math.isfinite(value) else None


def pesq_wb(reference: Audio, estimate: Audio, sample_rate_hz: int) -> float | None:
    """Return PESQ-wb of the mono mix, None where it finds no speech.

    Longer signals are cut into equal parts of at most PESQ_SECONDS; the mean is returned.
    """
    package = import_module("pesq")
    first, second = (_mono(wav, sample_rate_hz, PESQ_HZ) for wav in (reference, estimate))
    n_parts = max(1, math.ceil(len(first) / (PESQ_SECONDS * PESQ_HZ)))
    values = []
    for part in zip(np.array_split(first, n_parts), np.array_split(second, n_parts), strict=True):
        if any(is_silent(wav) for wav in part):  # the package divides by the peak
            continue
        try:
            values.append(float(package.pesq(PESQ_HZ, *part, "wb")))
        except package.PesqError:
            continue
    return sum(values) / len(values) if values else None


def visqol(reference: Audio, estimate: Audio, sample_rate_hz: int) -> float | None:
    """Return ViSQOL's MOS-LQO of the mono mix, in audio mode; None where there is too little."""
    first, second = (_mono(wav, sample_rate_hz, VISQOL_HZ) for wav in (reference, estimate))
    if is_silent(first) or is_silent(second):
        return None
    return _visqol_of(first, second)


def visqol_lr(reference: Audio, estimate: Audio, sample_rate_hz: int) -> float | None:
    """Return the mean of ViSQOL's MOS-LQO of the left and of the right channel, in audio mode.

    A channel that is silent in the original does not count. None for other than stereo.
    """
    if reference.shape[0] != 2:
        return None
    pairs = zip(reference, estimate, strict=True)
    values = [_visqol_of_part(*pair, sample_rate_hz) for pair in pairs]
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def visqol_side(reference: Audio, estimate: Audio, sample_rate_hz: int) -> float | None:
    """Return ViSQOL's MOS-LQO of the side (L - R) / 2, in audio mode.

    None for other than stereo, and where the channels do not differ.
    """
    if reference.shape[0] != 2:
        return None
    first, second = ((wav[0] - wav[1]) / 2 for wav in (reference, estimate))
    return _visqol_of_part(first, second, sample_rate_hz)


def _visqol_of_part(first: Audio, second: Audio, sample_rate_hz: int) -> float | None:
    """Return the score of one part [T] of a stereo signal, the lowest where it got lost."""
    if is_silent(first):
        return None
    if is_silent(second):
        return LOWEST_VISQOL
    return _visqol_of(*(_mono(wav[None], sample_rate_hz, VISQOL_HZ) for wav in (first, second)))


def _visqol_of(first: Audio, second: Audio) -> float | None:
    """Return the score of [T] at VISQOL_HZ."""
    try:
        value = float(_visqol().measure_from_arrays(first, second, VISQOL_HZ).moslqo)
    except ValueError:  # shorter than one of its patches
        return None
    return value if math.isfinite(value) else None


@functools.cache
def _visqol() -> Any:
    api = import_module("visqol").VisqolApi()
    api.create(mode="audio")
    return api


def _mono(wav: Audio, source_rate_hz: int, target_rate_hz: int) -> Audio:
    return resample(wav.mean(0, keepdims=True), source_rate_hz, target_rate_hz)[0]


METRICS = (
    Metric("si_sdr", "SI-SDR dB", 2, True, False, "", "",
           "Scale-invariant signal-to-distortion ratio (Le Roux et al., 2019): how far the "
           "waveform itself is kept.", si_sdr),
    Metric("mel_distance", "mel distance", 3, False, False, "", "",
           "Mean absolute difference of natural-log mel spectra, windows of 11 to 85 ms, both "
           "signals at one level.", mel_distance),
    Metric("stft_distance", "STFT distance", 3, False, False, "", "",
           "Spectral convergence plus mean absolute difference of natural-log magnitudes (Yamamoto "
           "et al., 2020), same windows.", stft_distance),
    Metric("stoi", "STOI", 3, True, True, "pystoi", "pystoi",
           "Short-time objective intelligibility (Taal et al., 2011), 0 to 1; speech only.", stoi),
    Metric("pesq_wb", "PESQ-wb", 2, True, True, "pesq", "pesq",
           "Wide-band PESQ (ITU-T P.862.2) at 16 kHz, 1.04 to 4.64; speech only.", pesq_wb),
    Metric("visqol", "ViSQOL", 2, True, False, "visqol", "visqol-python",
           "ViSQOL 3 (Chinen et al., 2020), audio mode at 48 kHz, 1 to 4.73.", visqol),
    Metric("visqol_lr", "ViSQOL L, R", 2, True, False, "visqol", "visqol-python",
           "Mean of ViSQOL of the left and of the right channel; stereo only.", visqol_lr,
           with_stereo=True),
    Metric("visqol_side", "ViSQOL side", 2, True, False, "visqol", "visqol-python",
           "ViSQOL of the side, (L - R) / 2; stereo only.", visqol_side, with_stereo=True),
    Metric("ild_error", "ILD error dB", 2, False, False, "", "",
           "Error of the level difference between the channels (Breebaart et al., 2005), by bands; "
           "stereo only.", ild_error, with_stereo=True),
    Metric("ipd_error", "IPD error deg", 1, False, False, "", "",
           "Error of the phase difference between the channels below 2 kHz, in degrees; stereo "
           "only.", ipd_error, with_stereo=True),
    Metric("ic_error", "IC error", 3, False, False, "", "",
           "Error of the coherence of the channels, by bands; stereo only.", ic_error,
           with_stereo=True),
    Metric("pre_echo", "pre-echo dB", 2, False, False, "", "",
           "Energy 5 to 30 ms before attacks, above the original's.", pre_echo, with_stereo=True),
)  # fmt: skip


def choose_metrics(
    keys: Sequence[str] | None = None, *, stereo: bool = False
) -> tuple[list[Metric], list[str]]:
    """Return the metrics of these keys that can be computed, and what to tell the user.

    Without keys all, those `with_stereo` only where a clip is `stereo`.

    Raises UsageError for a key that is none.
    """
    known = [metric.key for metric in METRICS]
    for key in keys or ():
        if key not in known:
            raise UsageError(f"metric {key!r}: expected one of {', '.join(known)}")
    if keys is None:
        keys = [metric.key for metric in METRICS if stereo or not metric.with_stereo]
    wanted = [metric for metric in METRICS if metric.key in keys]
    found = [metric for metric in wanted if _is_there(metric.module)]
    missing = [metric for metric in wanted if metric not in found]
    if not missing:
        return found, []
    named = ", ".join(f"{metric.title} (package {metric.package})" for metric in missing)
    return found, [f"not measured: {named}; {EXTRA} has all"]


def _is_there(module: str) -> bool:
    try:
        if module:
            import_module(module)
    except (ImportError, OSError):
        return False
    return True
