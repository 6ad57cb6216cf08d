"""Tracks without gaps between them: read in a row, written one by one."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from ncodec.cli.inputs import STDIO, Job, binary_stdin, open_output, refuse_ncx, source_name
from ncodec.cli.progress import progress_bar

if TYPE_CHECKING:
    from ncodec.audio import AudioSource
    from ncodec.encoding.encoder import Encoded
    from ncodec.encoding.options import ResolvedOptions


class GaplessJobs:
    """Jobs that are done in their order."""

    def __init__(
        self, jobs: Sequence[Job], options: "ResolvedOptions", source_options: dict[str, Any], *,
        overwrite: bool, quiet: bool,
    ) -> None:  # fmt: skip
        from ncodec.encoding.gapless import encode_gapless

        self._overwrite, self._quiet = overwrite, quiet
        self._advance: Callable[[float], None] = lambda seconds: None
        openers = [partial(_opened, job.source, source_options) for job in jobs]
        self._tracks = encode_gapless(openers, options, on_progress=self._on_progress)

    def _on_progress(self, number: int, seconds: float) -> None:
        self._advance(seconds)

    def encode(self, job: Job) -> "tuple[Encoded, bool]":
        """Write the next file, and tell whether it continues the one before."""
        with progress_bar(source_name(job.source), None, quiet=self._quiet) as self._advance:
            track = next(self._tracks)
        with open_output(job.target, overwrite=self._overwrite) as sink:
            return track.write(sink), track.follows


@contextmanager
def _opened(source: str, options: dict[str, Any]) -> "Generator[AudioSource, None, None]":
    from ncodec.audio import AudioSource

    refuse_ncx(source)
    with AudioSource(binary_stdin() if source == STDIO else source, **options) as opened:
        yield opened
