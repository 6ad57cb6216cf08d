"""One page that holds all: no other file and no address is needed to read it.

Sorting the table is all that a script does.
"""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from ncodec.audio import write
from ncodec.audio.base import Audio
from ncodec.evaluation.metrics import Metric
from ncodec.evaluation.plots import can_plot, spectrogram, spectrogram_db
from ncodec.evaluation.runs import EXAMPLE_SECONDS, Evaluation, Example, Row
from ncodec.evaluation.summary import COLUMNS, Mean, Summary

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1b1b1b; background: #fff; margin: 2rem auto;
       max-width: 82rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; } h3 { font-size: 1rem; }
p, li { max-width: 48rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .5rem; text-align: right; border-bottom: 1px solid #ddd; }
td { white-space: nowrap; } th { border-bottom: 2px solid #888; vertical-align: bottom; }
.text { text-align: left; }
td small { color: #666; display: block; font-size: .72rem; }
th button { all: unset; cursor: pointer; } th button:focus-visible { outline: 2px solid #0072B2; }
th[aria-sort=ascending] button::after { content: " \\25B2"; }
th[aria-sort=descending] button::after { content: " \\25BC"; }
img { max-width: 100%; display: block; }
.curves { display: flex; flex-wrap: wrap; gap: 1rem; }
.players { display: flex; flex-wrap: wrap; gap: 1rem; }
figure { margin: 0; width: 19rem; } figure img { width: 100%; height: 9.5rem; background: #000; }
figure audio { width: 100%; height: 2.2rem; }
figcaption { font-size: .85rem; } figcaption small { color: #555; }
.problem { color: #a00000; }
"""
_SCRIPT = """
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  for (const head of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const value = (row) => row.cells[head.cellIndex].dataset.value ?? "";
      const order = (a, b) => value(a) === "" ? 1 : value(b) === "" ? -1 : (up ? 1 : -1) *
        (head.classList.contains("text") ? value(a).localeCompare(value(b)) : value(a) - value(b));
      body.append(...[...body.rows].sort(order));
    });
  }
}
"""


def render(
    evaluation: Evaluation, summaries: Sequence[Summary], about: Sequence[str],
    notes: Sequence[str], plots: Mapping[str, bytes],
) -> str:  # fmt: skip
    """Return the page.

    about  what the figures were made with
    notes  what is missing from the report
    plots  PNG files by the key of the metric
    """
    metrics = evaluation.metrics
    titles = {metric.key: metric.title for metric in metrics}
    curves = "".join(
        _image(plot, f"{titles[key]} against true kbps") for key, plot in plots.items()
    )
    parts = [
        "<h1>Quality against rate</h1>",
        _list(escape(line) for line in about),
        _list((escape(note) for note in notes), "What is missing"),
        _list((f'<span class="problem">{escape(str(error))}</span>'
               for error in evaluation.problems), "What failed"),
        "<h2>Curves</h2><p>Means over the clips of each group; bars are 95 % confidence intervals."
        "</p>" if plots else "",
        f'<div class="curves">{curves}</div>' if plots else "",
        "<h2>Means</h2><p>Below each mean its 95 % confidence interval. Speeds are times real time "
        "and vary from run to run.</p>",
        f'<div class="wide">{_table(summaries, metrics)}</div>',
        f"<h2>Listen</h2><p>Up to {EXAMPLE_SECONDS:g} s from the middle of what was coded. "
        "Spectrograms go from 0 Hz to half the sample rate, over 80 dB.</p>",
        *(_listen(example, metrics) for example in evaluation.examples),
        "<h2>What is measured</h2>",
        _list(f"<b>{escape(metric.title)}</b>: {escape(metric.definition)} "
              f"{'Higher' if metric.higher_is_better else 'Lower'} is better."
              for metric in metrics),
    ]  # fmt: skip
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>ncodec evaluate</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in parts if part)
        + f"\n<script>{_SCRIPT}</script>\n</body>\n</html>\n"
    )


def _list(items: Iterable[str], title: str = "") -> str:
    lines = [f"<li>{item}</li>" for item in items]
    head = f"<h2>{title}</h2>" if title else ""
    return f"{head}<ul>{''.join(lines)}</ul>" if lines else ""


def _table(summaries: Sequence[Summary], metrics: Sequence[Metric]) -> str:
    columns = [
        *((key, *COLUMNS[key]) for key in ("kbps", "overhead_kbps")),
        *((metric.key, metric.title, metric.digits) for metric in metrics),
        *((key, *COLUMNS[key]) for key in ("encode_speed", "decode_speed")),
    ]
    heads = ['<th class="text" scope="col">clips</th><th class="text" scope="col">codec</th>'
             '<th scope="col">nominal kbps</th>']  # fmt: skip
    heads += [f'<th scope="col">{escape(title)}</th>' for _, title, _ in columns]
    rows = []
    for summary in summaries:
        group, codec = escape(summary.group, quote=True), escape(summary.codec, quote=True)
        cells = [
            f'<td class="text" data-value="{group}">{group} ({summary.n_clips})</td>'
            f'<td class="text" data-value="{codec}">{codec}</td>'
            f'<td data-value="{summary.bandwidth_kbps:g}">{summary.bandwidth_kbps:g}</td>'
        ]
        cells += [
            _cell(summary.means.get(key), digits, summary.n_clips) for key, _, digits in columns
        ]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return (
        f'<table class="sortable"><thead><tr>{"".join(heads)}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _cell(mean: Mean | None, digits: int, n_clips: int) -> str:
    if mean is None:
        return '<td data-value=""></td>'
    span = ""
    if mean.low is not None and mean.high is not None:
        span = f"<small>{mean.low:.{digits}f} to {mean.high:.{digits}f}</small>"
    if mean.n_clips != n_clips:
        span += f"<small>of {mean.n_clips}</small>"
    return f'<td data-value="{mean.value:.6g}">{mean.value:.{digits}f}{span}</td>'


def _listen(example: Example, metrics: Sequence[Metric]) -> str:
    rate = example.sample_rate_hz
    top_db = float(spectrogram_db(example.original, rate).max())
    figures = [
        _figure(example.original, rate, top_db, "<b>original</b>", f"{example.clip}, original")
    ]
    for row, wav in example.decoded:
        caption = (
            f"<b>{escape(row.codec)}</b>, {row.kbps:.2f} kbps<br><small>{_scores(row, metrics)}"
        )
        title = f"{example.clip}, {row.codec} at {row.kbps:.2f} kbps"
        figures.append(_figure(wav, rate, top_db, f"{caption}</small>", title))
    return f'<h3>{escape(example.clip)}</h3><div class="players">{"".join(figures)}</div>'


def _scores(row: Row, metrics: Sequence[Metric]) -> str:
    scores = ((metric, row.scores.get(metric.key)) for metric in metrics)
    return ", ".join(
        f"{escape(metric.title)} {score:.{metric.digits}f}" for metric, score in scores
        if score is not None
    )  # fmt: skip


def _figure(wav: Audio, rate: int, top_db: float, caption: str, title: str) -> str:
    picture = ""
    if can_plot():
        picture = _image(spectrogram(wav, rate, top_db), f"Spectrogram: {title}")
    stream = io.BytesIO()
    heard = wav if wav.shape[0] <= 2 else wav.mean(0, keepdims=True)  # FLAC has 8 at most
    write(stream, heard, rate, container="flac")
    sound = f"data:audio/flac;base64,{base64.b64encode(stream.getvalue()).decode()}"
    label = escape(title, quote=True)
    return (
        f'<figure>{picture}<audio controls preload="metadata" aria-label="{label}" src="{sound}">'
        f"</audio><figcaption>{caption}</figcaption></figure>"
    )


def _image(png: bytes, alt: str) -> str:
    content = base64.b64encode(png).decode()
    return f'<img alt="{escape(alt, quote=True)}" src="data:image/png;base64,{content}">'
