"""What earlier runs have done, as each wrote it down in a log of its own.

A log is JSON, a line for every event. Before files are made, their outputs are named ("begun"), and
after that there is a record ("made"). So the next run knows of each output that it finds:

    begun, made   it is complete: skipped if source and settings are those of the record
    begun         of a run that was killed: made again
    neither       not of any run: never replaced without --force
"""

import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from ncodec.batch.storage import Log
from ncodec.batch.work_units import Item, Outcome

_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "source": str, "target": str, "size": int, "mtime_ns": (int, type(None)), "sha256": str,
    "settings": str, "target_size": int, "seconds": (int, float),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Record:
    """A file that was made."""

    source: str
    target: str
    size: int  # of the source
    mtime_ns: int | None  # of the source
    sha256: str  # of the source
    settings: str  # digest of what decided the output
    target_size: int
    seconds: float  # of audio


class History:
    """What the logs of a target say."""

    def __init__(self, logs: Iterable[bytes]) -> None:
        self._records: dict[str, tuple[float, Record]] = {}
        self._begun: dict[str, float] = {}
        for log in logs:
            for line in log.split(b"\n"):
                self._take(line)

    def is_ours(self, target: str) -> bool:
        """Whether a run began to make an output."""
        return target in self._begun

    def record(self, target: str) -> Record | None:
        """Return the record of the run that last began to make an output, if it got to one."""
        at, record = self._records.get(target, (0.0, None))
        return record if at >= self._begun.get(target, math.inf) else None

    def _take(self, line: bytes) -> None:
        """Read a line; one that is cut off or not understood is ignored."""
        try:
            event: dict[str, Any] = json.loads(line)
            at = float(event["at"])
            for target in event.get("begun", ()):
                self._begun[str(target)] = max(at, self._begun.get(target, at))
            if (made := event.get("made")) is not None and _is_record(made):
                record = Record(**made)
                if at >= self._records.get(record.target, (0.0, None))[0]:
                    self._records[record.target] = (at, record)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return


def _is_record(fields: Mapping[str, object]) -> bool:
    return fields.keys() == _TYPES.keys() and all(
        isinstance(fields[name], kind) for name, kind in _TYPES.items()
    )


class Journal:
    """The log of this run."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def begin(self, items: Sequence[Item]) -> None:
        """Note that files are about to be made."""
        self._write({"begun": [item.target for item in items]}, now=True)

    def note(self, item: Item, outcome: Outcome, settings: str) -> None:
        """Note that a file was made, or need not be."""
        record = Record(
            item.source, item.target, item.size, item.mtime_ns, outcome.sha256, settings,
            outcome.n_bytes_out, outcome.seconds,
        )  # fmt: skip
        self._write({"made": asdict(record)}, now=False)

    def close(self) -> None:
        """Make all of it durable."""
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _write(self, event: dict[str, Any], *, now: bool) -> None:
        line = json.dumps({**event, "at": time.time()}) + "\n"
        self._log.append(line.encode(), now=now)
