"""Pictures, as PNG: quality against rate, and spectrograms. Needs matplotlib.

Shapes: C channels, T samples.
"""

import io
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ncodec.audio.base import Audio
from ncodec.audio.distances import window_size
from ncodec.errors import plural
from ncodec.evaluation.metrics import EXTRA, Metric
from ncodec.evaluation.summary import Summary

# Okabe and Ito's colours, distinct for the colour-blind too, and a shape with each.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = "osD^vP"
_YARDSTICK = "#555555"
_DPI = 110
RANGE_DB = 80.0  # of a spectrogram, below the highest magnitude of the original
_HEIGHT, _WIDTH = 192, 384  # of a spectrogram, in pixels


def can_plot() -> bool:
    """Tell whether matplotlib is there."""
    try:
        import_module("matplotlib.figure")
    except (ImportError, OSError):
        return False
    return True


def plot_notes() -> list[str]:
    """Return what to tell the user where there will be no pictures."""
    return (
        [] if can_plot() else [f"no curves, no spectrograms (package matplotlib); {EXTRA} has it"]
    )


def rate_quality(summaries: Sequence[Summary], metric: Metric) -> bytes:
    """Return a panel for every group of means against true rates; nothing where there are none."""
    shown = [summary for summary in summaries if metric.key in summary.means]
    groups = list(dict.fromkeys(summary.group for summary in shown))
    if not groups:
        return b""
    figure: Any = import_module("matplotlib.figure").Figure(
        figsize=(4.2 * len(groups) + 0.4, 3.5), dpi=_DPI, layout="constrained"
    )
    codecs = list(dict.fromkeys(summary.codec for summary in summaries))
    panels = figure.subplots(1, len(groups), squeeze=False, sharey=True)[0]
    for panel, group in zip(panels, groups, strict=True):
        for codec in codecs:
            curve = [s for s in shown if (s.group, s.codec) == (group, codec)]
            if curve:
                _draw_curve(panel, codec, codecs.index(codec), curve, metric.key)
        n_clips = max(s.means[metric.key].n_clips for s in shown if s.group == group)
        panel.set_title(f"{group} ({plural(n_clips, 'clip')})", fontsize=10)
        panel.set_xlabel("true kbps of the whole file")
        _label_rates(panel, [s.means["kbps"].value for s in shown if s.group == group])
        panel.grid(alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
    better = "higher" if metric.higher_is_better else "lower"
    panels[0].set_ylabel(f"{metric.title} ({better} is better)")
    panels[-1].legend(fontsize=8, frameon=False)
    return _png(figure)


def _draw_curve(panel: Any, codec: str, number: int, curve: list[Summary], key: str) -> None:
    curve = sorted(curve, key=lambda summary: summary.means["kbps"].value)
    rates = [summary.means["kbps"].value for summary in curve]
    means = [summary.means[key] for summary in curve]
    values = np.array([mean.value for mean in means])
    lows = [mean.value if mean.low is None else mean.low for mean in means]
    highs = [mean.value if mean.high is None else mean.high for mean in means]
    is_ours = codec != "opus"
    panel.errorbar(
        rates, values, np.stack([values - lows, highs - values]),
        label=codec, capsize=2, markersize=4, linewidth=1.5,
        color=_COLOURS[number % len(_COLOURS)] if is_ours else _YARDSTICK,
        marker=_MARKERS[number % len(_MARKERS)] if is_ours else "x",
        linestyle="-" if is_ours else "--",
    )  # fmt: skip


def _label_rates(panel: Any, rates: list[float]) -> None:
    """Scale by octaves, with round numbers."""
    panel.set_xscale("log", base=2)
    ticks = [
        t for t in (0.5, 1, 2, 4, 8, 16, 32, 64, 128, 256) if min(rates) / 2 < t < 2 * max(rates)
    ]
    panel.set_xticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    panel.set_xlim(min(rates) / 1.25, max(rates) * 1.25)
    panel.minorticks_off()


def _png(figure: Any) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def spectrogram(wav: Audio, sample_rate_hz: int, top_db: float) -> bytes:
    """Return the picture of the mono mix of [C, T], up to half the sample rate, linear in pitch.

    top_db  the level that is the brightest
    """
    levels = spectrogram_db(wav, sample_rate_hz)
    places = np.linspace(0, levels.shape[0] - 1, _HEIGHT).round().astype(int)
    stream = io.BytesIO()
    import_module("matplotlib.image").imsave(
        stream, levels[places], format="png", origin="lower", cmap="magma",
        vmin=top_db - RANGE_DB, vmax=top_db, metadata={"Software": None},
    )  # fmt: skip
    return stream.getvalue()


def spectrogram_db(wav: Audio, sample_rate_hz: int) -> NDArray[np.float32]:
    """Return the levels of the mono mix of [C, T] in dB, [bins, columns]."""
    mono = wav.mean(0)
    size = window_size(1024, sample_rate_hz)
    padded = np.pad(mono, size // 2)
    starts = np.linspace(0, len(padded) - size, _WIDTH).round().astype(int)
    frames = np.stack([padded[start : start + size] for start in starts]) * np.hanning(size)
    return (20 * np.log10(np.abs(np.fft.rfft(frames, axis=1)).T + 1e-6)).astype(np.float32)
