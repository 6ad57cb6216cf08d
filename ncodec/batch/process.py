"""A worker in a process of its own, spoken to by its standard input and output.

Orders come in, messages go out, both pickled: between this process and the one that started it,
and nobody else. If that one is gone, so is this.
"""

import contextlib
import os
import pickle
import queue
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any, BinaryIO

from ncodec.batch.engine import BROKEN, END, PROGRESS, READY, RESULT

if TYPE_CHECKING:
    from ncodec.batch.work_units import WorkUnit


def main() -> None:
    """Work until nobody wants it."""
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started this decides
    messages = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not get in between
    units = sys.stdin.buffer

    def send(kind: str, content: Any = None) -> None:
        pickle.dump((kind, content), messages)
        messages.flush()

    try:
        worker = _start(pickle.load(units))
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


def _start(task: Any) -> Any:
    import torch

    from ncodec.batch.worker import Worker

    torch.set_num_threads(1)
    return Worker(task)


def _listen(units: BinaryIO, given: "queue.SimpleQueue[WorkUnit]") -> None:
    """Take units; end the process, whatever it does, when there is nobody to give any."""
    try:
        while True:
            given.put(pickle.load(units))
    except (EOFError, OSError, pickle.UnpicklingError):
        os._exit(1)
