"""What libmpg123 writes to standard error by itself, turned into remarks.

It goes there without a file's name, and past Python. A command, whose standard error is its own,
catches it; in a program that uses the library it is left alone.
"""

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator

_MOST_REMARKS = 3
_TOLD = re.compile(r"(Note: (?P<note>Illegal .*|Skipped .*)|.* error: (?P<error>.*))")
_STDERR = 2
_is_caught = False


def catch_decoders() -> None:
    """From now on, catch what decoders write."""
    global _is_caught  # as standard error is one of the process
    _is_caught = True


class Caught:
    """What one decoder wrote.

    Attributes:
        remarks: on damage that it went past, the first few.
    """

    def __init__(self) -> None:
        self.remarks: list[str] = []

    @contextlib.contextmanager
    def caught(self) -> Iterator[None]:
        """Catch what is written meanwhile. Nothing else may write then."""
        if not _is_caught:
            yield
            return
        with tempfile.TemporaryFile() as file:
            try:
                kept = os.dup(_STDERR)
            except OSError:  # closed by the caller
                yield
                return
            os.dup2(file.fileno(), _STDERR)
            try:
                yield
            finally:
                os.dup2(kept, _STDERR)
                os.close(kept)
                file.seek(0)
                self._take(file.read(1 << 16).decode("utf-8", "replace"))

    def _take(self, text: str) -> None:
        for line in text.splitlines():
            found = _TOLD.search(line)
            if found and len(self.remarks) < _MOST_REMARKS:
                what = found["note"] or found["error"]
                self.remarks.append(f"libmpg123 went past damage: {what.strip(' .')}")
