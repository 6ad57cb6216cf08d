"""How good codecs are: clips through coders, what is measured, and the report of it.

docs/EVALUATION.md says what the figures mean.
"""

from ncodec.evaluation.clips import Clip, Excerpt, find_clips, has_stereo, total_seconds
from ncodec.evaluation.coders import Coder, RoundTrip, model_coders
from ncodec.evaluation.metrics import METRICS, Metric, choose_metrics
from ncodec.evaluation.plots import plot_notes
from ncodec.evaluation.report import Report, as_json, markdown_table, write_report
from ncodec.evaluation.runs import Evaluation, Row, evaluate
from ncodec.evaluation.summary import Summary, summarise

__all__ = [
    "METRICS",
    "Clip",
    "Coder",
    "Evaluation",
    "Excerpt",
    "Metric",
    "Report",
    "RoundTrip",
    "Row",
    "Summary",
    "as_json",
    "choose_metrics",
    "evaluate",
    "find_clips",
    "has_stereo",
    "markdown_table",
    "model_coders",
    "plot_notes",
    "summarise",
    "total_seconds",
    "write_report",
]
