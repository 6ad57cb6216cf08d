"""torchaudio, which references import, and which loads beside some builds of torch only."""

import importlib.machinery
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def torchaudio_or_stub() -> Iterator[None]:
    """Let torchaudio be imported inside, as an empty module where it cannot be loaded."""
    try:
        import torchaudio  # noqa: F401
    except (ImportError, OSError, RuntimeError):
        stub = types.ModuleType("torchaudio")
        stub.__spec__ = importlib.machinery.ModuleSpec("torchaudio", None)
        sys.modules["torchaudio"] = stub
        try:
            yield
        finally:  # for the tests of what happens without it
            del sys.modules["torchaudio"]
    else:
        yield
