"""How many threads torch uses inside."""

import contextlib
import threading

import torch


class _OneThread(contextlib.AbstractContextManager[None]):
    """Torch's operators run with one thread inside, in all of the caller's threads that enter.

    The number of threads is in part a setting of the process, so it comes back when the last of
    the callers that run side by side leaves.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before = 1

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._before = torch.get_num_threads()
            self._inside += 1
            torch.set_num_threads(1)

    def __exit__(self, *exc_info: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                torch.set_num_threads(self._before)


one_thread = _OneThread()
