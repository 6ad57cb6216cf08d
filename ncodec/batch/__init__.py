"""Many files: a tree of audio to a tree of .ncx files, and back.

>>> from ncodec.batch import EncodeOptions, convert
>>> for outcome in convert("music", "small", EncodeOptions(bandwidth_kbps=6)):
...     print(outcome.source, outcome.status, outcome.error)

A run (`conversion`) makes a plan (`plan`, from `storage`, `names` and `state`) and units of work
from it (`work_units`). The `scheduler` gives them to the workers of an engine (`local`, `ray`), and
a log notes the outcomes. What a worker does is in `worker`. Importing this does not load torch.
"""

import os
from collections.abc import Callable, Generator

from ncodec.batch.conversion import Conversion
from ncodec.batch.plan import FileOptions
from ncodec.batch.protocols import WorkerPool
from ncodec.batch.settings import AudioFormat
from ncodec.batch.work_units import Outcome
from ncodec.encoding.options import EncodeOptions

__all__ = [
    "AudioFormat", "Conversion", "EncodeOptions", "FileOptions", "Outcome", "WorkerPool", "convert",
]  # fmt: skip


def convert(
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str],
    coding: EncodeOptions | AudioFormat | None = None,
    files: FileOptions | None = None,
    pool: WorkerPool | None = None,
    *,
    on_progress: Callable[[int], None] = lambda n_bytes: None,
) -> Generator[Outcome, None, None]:
    """Convert all audio below `src` into .ncx files below `dst`, or with AudioFormat back.

    src, dst     folders, or URLs that fsspec reads
    coding       how to encode (`denoise` is not possible), or of what format to decode
    files        which files, and when they count as done
    pool         which workers do it
    on_progress  called with the number of bytes of the sources that were just done

    Plans at once, then yields the outcome of each file as soon as it is known, also of those that
    earlier runs have done. A file that fails does not stop the others. Closing the iterator ends
    the run, and the same call goes on where it was. docs/BATCH.md has the rest.

    Raises UsageError for arguments that make no sense, ModelMissing; while it runs, NcodecError
    where workers cannot start.
    """
    return Conversion(src, dst, coding, files, pool).outcomes(on_progress)
