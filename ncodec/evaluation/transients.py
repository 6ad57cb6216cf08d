"""What a codec puts before an attack: pre-echo.

Shapes: C channels, T samples.

Quantisation noise spreads over the whole window of a transform, and is heard where it comes before
an attack (Painter and Spanias, "Perceptual coding of digital audio", Proceedings of the IEEE 88
(4), 2000). Attacks are found on the source, channel by channel, by how much the energy of the next
ATTACK_MS exceeds that of the last BEFORE_MS (Bello et al., "A tutorial on onset detection in music
signals", IEEE Transactions on Speech and Audio Processing 13 (5), 2005). Then the energy of the
decoded signal from BEFORE_MS to GUARD_MS before the attack is compared with that of the source. In
the last GUARD_MS the attack itself masks what comes before it.

Both signals are differentiated first: the spectrum of music falls by about 6 dB an octave, and a
steady bass would hide what happens above it.
"""

import numpy as np
from numpy.typing import NDArray

from ncodec.audio.base import Audio
from ncodec.audio.distances import is_silent

ATTACK_MS, BEFORE_MS, GUARD_MS = 5, 30, 5
APART_MS = 50  # of two attacks, at least
RISE_DB = 15.0  # of an attack, at least
WEAKEST_DB = 40.0  # below the loudest attack of the channel: weaker ones do not count
FLOOR_DB = 60.0  # below the attack: what is weaker counts as that

Values = NDArray[np.float64]


def pre_echo(reference: Audio, estimate: Audio, sample_rate_hz: int) -> float | None:
    """Return by how many dB the energy before attacks exceeds the source's, mean over attacks.

    Less energy than the source's counts as 0 dB. Both energies are at least FLOOR_DB below that of
    the attack. None where the source has no attack.
    """
    excesses: list[float] = []
    for first, second in zip(reference, estimate, strict=True):
        if is_silent(first[None]):
            continue
        ours, theirs = (_energies(wav, sample_rate_hz) for wav in (first, second))
        for place in _attacks(ours):
            floor = ours[place : place + ATTACK_MS].mean() * 10 ** (-FLOOR_DB / 10)
            before = slice(place - BEFORE_MS, place - GUARD_MS)
            ratio = (theirs[before].mean() + floor) / (ours[before].mean() + floor)
            excesses.append(max(0.0, 10 * float(np.log10(ratio))))
    return sum(excesses) / len(excesses) if excesses else None


def _energies(wav: NDArray[np.float32], sample_rate_hz: int) -> Values:
    """Return the mean energy of the differences of samples [T] in each millisecond."""
    steps = np.diff(wav.astype(np.float64), prepend=0.0) ** 2
    edges = (np.arange(len(wav) * 1000 // sample_rate_hz + 1) * sample_rate_hz / 1000).astype(int)
    sums = np.concatenate([[0.0], np.cumsum(steps)])[edges]
    return np.diff(sums) / np.diff(edges)


def _attacks(energies: Values) -> list[int]:
    """Return the milliseconds in which attacks begin, the strongest first."""
    n = len(energies) - ATTACK_MS - BEFORE_MS + 1
    if n < 1:
        return []
    sums = np.concatenate([[0.0], np.cumsum(energies)])
    places = np.arange(BEFORE_MS, BEFORE_MS + n)
    after = (sums[places + ATTACK_MS] - sums[places]) / ATTACK_MS
    before = (sums[places] - sums[places - BEFORE_MS]) / BEFORE_MS
    loudest = float(after.max())
    rises = after / (before + loudest * 10 ** (-(WEAKEST_DB + FLOOR_DB) / 10) + 1e-30)
    is_attack = (rises >= 10 ** (RISE_DB / 10)) & (after > loudest * 10 ** (-WEAKEST_DB / 10))
    found: list[int] = []
    for place in places[is_attack][np.argsort(-rises[is_attack], kind="stable")].tolist():
        if all(abs(place - other) >= APART_MS for other in found):
            found.append(place)
    return found
