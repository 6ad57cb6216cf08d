"""The report as files: JSON, CSV, Markdown, plots and the page."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ncodec.errors import NcodecError
from ncodec.evaluation.clips import Excerpt
from ncodec.evaluation.metrics import Metric
from ncodec.evaluation.page import render
from ncodec.evaluation.plots import can_plot, rate_quality
from ncodec.evaluation.runs import Evaluation, Row
from ncodec.evaluation.summary import COLUMNS, Summary, summarise
from ncodec.formats.atomic_files import atomic_output
from ncodec.hub.codecs import ModelFile
from ncodec.hub.entropy_models import WITHOUT_MODEL, find_for

SCHEMA = "ncodec.evaluate/1"
VERSION = version("ncodec")
_ROW = ("clip", "group", "codec", "bandwidth_kbps", "seconds", "sample_rate_hz", "n_channels",
        "n_bytes", "payload_bytes", "kbps", "overhead_kbps", "encode_speed", "decode_speed",
        "lag_samples")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Report:
    """An evaluation, and what it was made with."""

    evaluation: Evaluation
    models: Sequence[ModelFile]
    excerpt: Excerpt
    notes: Sequence[str]

    @property
    def summaries(self) -> list[Summary]:
        """Means over the clips of each group."""
        return summarise(self.evaluation.rows, self.evaluation.metrics)


def write_report(report: Report, folder: Path, *, overwrite: bool = False) -> None:
    """Write all files of the report. Raises OutputExists, NcodecError."""
    summaries, metrics = report.summaries, report.evaluation.metrics
    plots: dict[str, bytes] = {}
    if can_plot():
        plots = {metric.key: rate_quality(summaries, metric) for metric in metrics}
        plots = {key: plot for key, plot in plots.items() if plot}
    page = render(report.evaluation, summaries, about_lines(report), report.notes, plots)
    files = {
        "report.json": f"{json.dumps(as_json(report), indent=1)}\n".encode(),
        "rows.csv": _csv([row_values(row, metrics) for row in report.evaluation.rows]),
        "summary.csv": _csv([summary_values(summary, metrics) for summary in summaries]),
        "index.html": page.encode(errors="backslashreplace"),
    }
    files |= {f"{key}.png": plot for key, plot in plots.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NcodecError(f"{folder}: cannot be made: {error.strerror}") from None
    for name, content in files.items():
        with atomic_output(folder / name, overwrite) as partial:
            partial.write_bytes(content)


def about_lines(report: Report) -> list[str]:
    """Return what the figures were made with, a line each."""
    lines = [f"ncodec {VERSION}"]
    for model in report.models:
        entropy = find_for(model)
        without = f"{WITHOUT_MODEL} entropy coder"
        coder = f"entropy model {entropy.fingerprint.hex()}" if entropy else without
        lines.append(f"{model.model_id}: weights {model.fingerprint.hex()}, {coder}")
    limit, rate_hz = report.excerpt.seconds, report.excerpt.sample_rate_hz
    seconds = "whole clips" if limit is None else f"the middle {limit:g} s of each clip"
    rate = f"resampled to {rate_hz} Hz" if rate_hz else "at its own rate"
    lines.append(f"{seconds}, {rate}{', mixed to mono' if report.excerpt.mono else ''}")
    return lines


def as_json(report: Report) -> dict[str, Any]:
    """Return the report as JSON values; docs/CLI.md has the schema."""
    excerpt, evaluation = report.excerpt, report.evaluation
    return {
        "schema": SCHEMA,
        "ncodec_version": VERSION,
        "limit_s": excerpt.seconds,
        "sample_rate_hz": excerpt.sample_rate_hz,
        "mono": excerpt.mono,
        "models": [_model_json(model) for model in report.models],
        "metrics": [
            {"key": metric.key, "title": metric.title, "definition": metric.definition,
             "higher_is_better": metric.higher_is_better, "speech_only": metric.speech_only}
            for metric in evaluation.metrics
        ],
        "summary": [_summary_json(summary) for summary in report.summaries],
        "rows": [
            {**_row_facts(row), "scores": {m.key: _rounded(row.scores.get(m.key))
                                           for m in evaluation.metrics}}
            for row in evaluation.rows
        ],
        "problems": [str(problem) for problem in evaluation.problems],
        "notes": list(report.notes),
    }  # fmt: skip


def _model_json(model: ModelFile) -> dict[str, Any]:
    entropy = find_for(model)
    return {
        "id": model.model_id,
        "sha256": model.sha256,
        "entropy_sha256": None if entropy is None else entropy.sha256,
    }


def _summary_json(summary: Summary) -> dict[str, Any]:
    return {
        "group": summary.group,
        "codec": summary.codec,
        "bandwidth_kbps": summary.bandwidth_kbps,
        "n_clips": summary.n_clips,
        "means": [
            {"key": key, "mean": _rounded(mean.value), "low": _rounded(mean.low),
             "high": _rounded(mean.high), "n_clips": mean.n_clips}
            for key, mean in summary.means.items()
        ],
    }  # fmt: skip


def _row_facts(row: Row) -> dict[str, Any]:
    return {name: _rounded(getattr(row, name)) for name in _ROW}


def _rounded(value: Any) -> Any:
    return round(value, 6) if isinstance(value, float) else value


def row_values(row: Row, metrics: Sequence[Metric]) -> dict[str, Any]:
    """Return the line of a row in rows.csv."""
    scores = {m.key: _rounded(row.scores.get(m.key)) for m in metrics}
    return {**_row_facts(row), **scores}


def summary_values(summary: Summary, metrics: Sequence[Metric]) -> dict[str, Any]:
    """Return the line of a summary in summary.csv."""
    values: dict[str, Any] = {
        "group": summary.group, "codec": summary.codec, "bandwidth_kbps": summary.bandwidth_kbps,
        "n_clips": summary.n_clips,
    }  # fmt: skip
    for key in (*COLUMNS, *(metric.key for metric in metrics)):
        mean = summary.means.get(key)
        values[key] = None if mean is None else _rounded(mean.value)
        values[f"{key}_low"] = None if mean is None else _rounded(mean.low)
        values[f"{key}_high"] = None if mean is None else _rounded(mean.high)
    return values


def _csv(table: Sequence[Mapping[str, Any]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(table[0]))
    writer.writeheader()
    writer.writerows(table)
    return text.getvalue().encode(errors="backslashreplace")


def markdown_table(report: Report) -> list[str]:
    """Return the lines of the table of means."""
    metrics = report.evaluation.metrics
    digits = {key: places for key, (_, places) in COLUMNS.items()}
    digits |= {metric.key: metric.digits for metric in metrics}
    titles = ["clips", "codec", "nominal kbps", *(title for title, _ in COLUMNS.values())]
    titles[5:5] = [metric.title for metric in metrics]
    keys = ["kbps", "overhead_kbps", *(m.key for m in metrics), "encode_speed", "decode_speed"]
    lines = [titles, ["---"] * len(titles)]
    for summary in report.summaries:
        means = {key: mean.value for key, mean in summary.means.items()}
        cells = [f"{means[key]:.{digits[key]}f}" if key in means else "" for key in keys]
        lines.append(
            [f"{summary.group} ({summary.n_clips})", summary.codec, f"{summary.bandwidth_kbps:g}",
             *cells]
        )  # fmt: skip
    return [f"| {' | '.join(line)} |" for line in lines]
