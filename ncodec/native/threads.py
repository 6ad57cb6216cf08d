"""How many threads the coders and decoders of this process work with; torch heeds the same."""

import contextlib
import os
import sys
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
_QUOTAS = (  # and periods, in us: of version 2, and of version 1
    ("cpu.max",),
    ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"),
)


def available() -> int:
    """Return how many cores this process may keep busy: those it has, or its container pays for."""
    n_cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        n_cores = len(os.sched_getaffinity(0))
    for files in _QUOTAS:
        with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
            quota, period = map(int, " ".join((_CGROUP / f).read_text() for f in files).split())
            if quota > 0:
                n_cores = min(n_cores, max(1, round(quota / period)))
    return n_cores


def n_threads() -> int:
    """Return the number to work with: $OMP_NUM_THREADS, or all that are available."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return int(wanted) if wanted.isdecimal() and int(wanted) else available()


def set_n_threads(count: int) -> None:
    """Set the number for this process, its children, and torch, loaded or not yet."""
    os.environ["OMP_NUM_THREADS"] = str(count)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(count)
