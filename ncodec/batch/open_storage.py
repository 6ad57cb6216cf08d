"""The tree that a path or URL names."""

import os
import re

from ncodec.batch.local_storage import LocalStorage
from ncodec.batch.storage import Storage
from ncodec.errors import UsageError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def open_storage(url: str | os.PathLike[str]) -> Storage:
    """Return the tree at a path or URL. Raises UsageError for a URL that nothing here reads."""
    text = os.fspath(url)
    if not text:
        raise UsageError("a folder without a name")
    if text.startswith("file://"):
        text = text.removeprefix("file://")
    elif _URL.match(text):
        from ncodec.batch.remote_storage import RemoteStorage

        return RemoteStorage(text)
    return LocalStorage(text)
