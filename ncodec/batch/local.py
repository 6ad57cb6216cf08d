"""The engine of one machine: a process for every worker, with one thread each.

Units go in by standard input, messages come out by standard output, both pickled: between this
process and the workers that it started. A worker whose parent is gone ends.
"""

import contextlib
import math
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ncodec.audio.stderr import catch_decoders
from ncodec.batch.protocols import (
    BROKEN,
    END,
    GONE,
    PROGRESS,
    READY,
    RESULT,
    Messages,
    Task,
    WorkerPool,
)
from ncodec.batch.worker import Worker
from ncodec.errors import UsageError
from ncodec.native.threads import available

if TYPE_CHECKING:
    from ncodec.batch.work_units import WorkUnit

MAX_LOSSES = 2
IS_ONE_MACHINE = True
_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)


@contextlib.contextmanager
def open_pool(pool: WorkerPool) -> Iterator[int]:
    """See Engine."""
    n_workers = available() if pool.n_workers is None else pool.n_workers
    if pool.gpu > 0:
        sharing, each = _share(pool.gpu)
        most = sharing * (len(_gpus()) // each)
        if most < 1:
            raise UsageError(f"{pool.gpu:g} of a GPU for each worker: there are {len(_gpus())}")
        n_workers = most if pool.n_workers is None else min(n_workers, most)
    yield n_workers


def spawn(task: Task, pool: WorkerPool, number: int, messages: Messages) -> "_ProcessHandle":
    """See Engine."""
    environment = _environment()
    if pool.gpu > 0:
        sharing, each = _share(pool.gpu)
        environment["CUDA_VISIBLE_DEVICES"] = _gpus()[number // sharing * each]
    return _ProcessHandle(task, environment, messages)


class _ProcessHandle:
    """See WorkerHandle: a worker's process."""

    def __init__(self, task: Task, environment: dict[str, str], messages: Messages) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", "from ncodec.batch.local import main; main()"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment,
            # Not to be interrupted with this process, which sees to that itself.
            process_group=0 if os.name == "posix" else None,
        )  # fmt: skip
        self.give(task)
        threading.Thread(target=self._listen, args=(messages,), daemon=True).start()

    def give(self, unit: object) -> None:
        """See WorkerHandle."""
        assert self._process.stdin is not None  # noqa: S101 # a pipe
        with contextlib.suppress(OSError):
            pickle.dump(unit, self._process.stdin)
            self._process.stdin.flush()

    def _listen(self, messages: Messages) -> None:
        assert self._process.stdout is not None  # noqa: S101 # a pipe
        ends = (EOFError, OSError, pickle.UnpicklingError)
        with self._process.stdout as stdout, contextlib.suppress(*ends):
            while True:
                messages.put((self, *pickle.load(stdout)))
        messages.put((self, GONE, self._end()))

    def _end(self) -> str:
        """Return how a process ended that is gone."""
        code = self._process.wait()
        if code >= 0:
            return f"exit code {code}"
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
        return f"signal {-code}"

    def kill(self) -> None:
        """See WorkerHandle."""
        self._process.kill()
        self._process.wait()
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):  # of what is still to be written
                self._process.stdin.close()


def _share(gpu: float) -> tuple[int, int]:
    """Return how many workers share a GPU, or how many GPUs each has."""
    return max(1, int(1 / gpu + 1e-9)), math.ceil(gpu)


def _gpus() -> list[str]:
    """Return what CUDA_VISIBLE_DEVICES may name."""
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    count = torch.cuda.device_count()
    return named if len(named) == count and all(named) else [str(gpu) for gpu in range(count)]


def _environment() -> dict[str, str]:
    """Return that of a worker: of one thread, and with the modules of this process."""
    path = os.pathsep.join(folder or str(Path.cwd()) for folder in sys.path)
    return {**os.environ, **_ONE_THREAD, "PYTHONPATH": path}


def main() -> None:
    """Be a worker's process, until its parent ends it."""
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    messages = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not get in between
    catch_decoders()
    units = sys.stdin.buffer

    def send(kind: str, content: Any = None) -> None:
        pickle.dump((kind, content), messages)
        messages.flush()

    try:
        worker = Worker(pickle.load(units))
    except Exception as error:
        send(BROKEN, f"{type(error).__name__}: {error}")
        return
    given: queue.SimpleQueue[WorkUnit] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(units, given), daemon=True).start()
    send(READY)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # decoders of MP3 chat about what they meet
    while True:
        for result in worker.run(given.get(), lambda *progress: send(PROGRESS, progress)):
            send(RESULT, result)
        send(END)


def _listen(units: BinaryIO, given: "queue.SimpleQueue[WorkUnit]") -> None:
    """Receive units; end the process, whatever it does, when the parent is gone."""
    try:
        while True:
            given.put(pickle.load(units))
    except (EOFError, OSError, pickle.UnpicklingError):
        os._exit(1)
