"""Many files: a tree of audio to a tree of .ncx files, and back.

>>> import ncodec.batch
>>> for outcome in ncodec.batch.convert("music", "small", bandwidth_kbps=6):
...     print(outcome.source, outcome.status, outcome.error)

A run plans (`plan`, from `storage`, `names` and `state`), makes `units` of it, hands them to the
workers (`team`) of an engine (`local`, `ray`), and notes in a log what came back. What a worker
does is in `work`. Importing this does not load torch.
"""

import os
from collections.abc import Callable, Generator, Sequence
from typing import Unpack

from ncodec.batch.conversion import Conversion
from ncodec.batch.engine import WorkerPool
from ncodec.batch.open_storage import open_storage
from ncodec.batch.outcome import Outcome
from ncodec.batch.plan import Options
from ncodec.batch.settings import decode_settings, encode_settings
from ncodec.encoding.options import EncodeKeywords, EncodeOptions

__all__ = ["Conversion", "Outcome", "convert"]


def convert(
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str],
    *,
    decode: bool = False,
    container: str = "flac",
    subtype: str | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    copy_other: bool = False,
    checksum: bool = False,
    verify: bool = False,
    overwrite: bool = False,
    n_workers: int | None = None,
    gpu: float = 0.0,
    engine: str = "local",
    address: str | None = None,
    on_progress: Callable[[int], None] = lambda n_bytes: None,
    **options: Unpack[EncodeKeywords],
) -> Generator[Outcome, None, None]:
    """Convert all audio below `src` into .ncx files below `dst`, or with `decode` back.

    src, dst     folders, or URLs that fsspec reads
    options      of encoding, as for `ncodec.encode`, but for `denoise`
    container, subtype   of decoding, as for `ncodec.audio.AudioSink`
    include, exclude     patterns of paths, names and folders
    copy_other   copy all other files too
    checksum     tell by the content of a source, not its time, whether it has changed
    verify       decode the codes of what was written before it is published
    overwrite    replace files in `dst` that no earlier run has made
    n_workers    processes; None: one for every core, 0: this process alone
    gpu          share of a GPU for each of them, on which the networks run that encode
    engine       "local", or "ray" with the `address` of a cluster
    on_progress  called with the number of bytes of the sources that were just done

    Plans at once, then yields what came of each file, as soon as it is known: of those that are
    done already too. A file that fails does not keep the others from being done. Closing the
    iterator ends the run, and the same call goes on where it was. docs/BATCH.md has the rest.

    Raises UsageError for arguments that make no sense, ModelMissing; while it runs, NcodecError
    where no workers are to be had.
    """
    source, target = open_storage(src), open_storage(dst)
    encoding = EncodeOptions(**options)
    settings = decode_settings(container, subtype) if decode else encode_settings(encoding)
    conversion = Conversion(
        source, target, settings,
        Options(tuple(include), tuple(exclude), copy_other, checksum, overwrite),
        pool=WorkerPool(n_workers, address, gpu), engine=engine, verify=verify,
    )  # fmt: skip
    return conversion.outcomes(on_progress)
