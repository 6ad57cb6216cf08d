"""What a run came to: totals, and the JSON of --report."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ncodec.batch.conversion import Conversion
from ncodec.batch.protocols import CONCEALED
from ncodec.batch.work_units import Outcome

SCHEMA = "ncodec.batch/1"


@dataclass(slots=True)
class Totals:
    """Sums over outcomes. Hours and bytes are those of files that were converted in this run."""

    n_done: int = 0
    n_skipped: int = 0
    n_copied: int = 0
    n_failed: int = 0
    n_remarks: int = 0
    n_concealed: int = 0
    seconds: float = 0.0
    n_bytes_in: int = 0
    n_bytes_out: int = 0

    def add(self, outcome: Outcome) -> None:
        """Count a file."""
        self.n_done += outcome.status == "done"
        self.n_skipped += outcome.status == "skipped"
        self.n_copied += outcome.status == "copied"
        self.n_failed += outcome.status == "failed"
        self.n_remarks += bool(outcome.remarks)
        self.n_concealed += any(text.startswith(CONCEALED) for text in outcome.remarks)
        if outcome.status == "done":
            self.seconds += outcome.seconds
            self.n_bytes_in += outcome.n_bytes_in
            self.n_bytes_out += outcome.n_bytes_out


def ratio(large: float, small: float) -> float | None:
    """Return a quotient, None where there is none."""
    return large / small if small else None


def as_json(
    conversion: Conversion, outcomes: list[Outcome], elapsed_s: float, *, engine: str,
    version: str, interrupted: bool,
) -> dict[str, Any]:  # fmt: skip
    """Return the report of a run, as docs/CLI.md lists it."""
    totals, settings = Totals(), conversion.settings
    for outcome in outcomes:
        totals.add(outcome)
    return {
        "schema": SCHEMA,
        "ncodec_version": version,
        "source": conversion.source.name,
        "target": conversion.target.name,
        "engine": engine,
        "n_workers": conversion.n_workers,
        "interrupted": interrupted,
        "settings": {
            "decode": settings.decode,
            "model": settings.model_id or None,
            "stereo_model": settings.stereo.model_id if settings.stereo else None,
            "model_fingerprint": settings.model_fingerprint or None,
            "n_codebooks": settings.n_q or None,
            "effort": settings.effort or None,
            "quality": settings.quality,
            "entropy": settings.entropy or None,
            "entropy_model": settings.entropy_id or None,
            "entropy_fingerprint": settings.entropy_fingerprint or None,
            "format": settings.container or None,
            "subtype": settings.subtype or None,
            "digest": settings.digest,
        },
        "totals": {
            "n_done": totals.n_done,
            "n_skipped": totals.n_skipped,
            "n_copied": totals.n_copied,
            "n_failed": totals.n_failed,
            "n_other": conversion.plan.n_other,
            "duration_s": totals.seconds,
            "n_bytes_in": totals.n_bytes_in,
            "n_bytes_out": totals.n_bytes_out,
            "ratio": _either(totals.n_bytes_in, totals.n_bytes_out, conversion),
            "elapsed_s": elapsed_s,
            "speed": ratio(totals.seconds, elapsed_s),
        },
        "unreadable": conversion.plan.unreadable,
        "files": [_file(outcome, conversion) for outcome in outcomes],
    }


def _file(outcome: Outcome, conversion: Conversion) -> Mapping[str, Any]:
    is_made = outcome.status in ("done", "skipped")
    return {
        "source": outcome.source,
        "target": outcome.target or None,
        "status": outcome.status,
        "error": outcome.error or None,
        "remarks": list(outcome.remarks),
        "model": outcome.model_id or None,
        "n_coded_channels": outcome.n_coded_channels or None,
        "duration_s": outcome.seconds if is_made else None,
        "n_bytes_in": outcome.n_bytes_in,
        "n_bytes_out": outcome.n_bytes_out if outcome.status != "failed" else None,
        "ratio": _either(outcome.n_bytes_in, outcome.n_bytes_out, conversion) if is_made else None,
        "elapsed_s": outcome.elapsed_s if outcome.status != "skipped" else None,
        "speed": ratio(outcome.seconds, outcome.elapsed_s) if outcome.status == "done" else None,
    }


def _either(n_bytes_in: int, n_bytes_out: int, conversion: Conversion) -> float | None:
    """Return how many times smaller the coded side is."""
    coded, audio = n_bytes_out, n_bytes_in
    if conversion.settings.decode:
        coded, audio = audio, coded
    return ratio(audio, coded)
