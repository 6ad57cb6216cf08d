"""Reading and writing the codes of .ecdc files (formats/ECDC.md), a piece at a time.

Shapes: Q codebooks, F frames.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING

import numpy as np

from ncodec.bitstream.ecdc.segments import (
    LmReader,
    LmWriter,
    PackedReader,
    PackedWriter,
    SegmentCodes,
)
from ncodec.errors import (
    FormatError,
    ModelInvalid,
    ModelMissing,
    PayloadError,
    UsageError,
)
from ncodec.formats.ecdc import CODE_BITS, SCALE, ByteReader, EcdcHeader
from ncodec.formats.streams import Readable, Writable
from ncodec.hub.language_models import find_for, load

if TYPE_CHECKING:
    from ncodec.models.encodec_lm import EncodecLm

PIECE_FRAMES = (
    256  # read at a time; a multiple of 4, so that a piece of 10-bit codes is whole bytes
)
_OTHER_FLOATS = (
    "the file is damaged, or its language model gives other probabilities here than where it was "
    "written: floating point depends on machine, library and threads"
)


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment of the model; if it has none, any number of frames."""

    codes: SegmentCodes  # [Q, F]
    scale: float | None = None  # the segment's level, of a model that has them


@dataclass(frozen=True, slots=True)
class EcdcCodes:
    """A file that is being read."""

    header: EcdcHeader
    segments: Iterator[Segment]  # reads on; of at most `PIECE_FRAMES` frames each


def read_ecdc(stream: Readable, name: str, *, one_thread: bool = True) -> EcdcCodes:
    """Read the header of a file; its segments are read when they are asked for.

    name        of the file, for errors
    one_thread  run a language model so, as `write_ecdc` does; else with as many threads as torch
                takes, as EnCodec's own tool does: the probabilities depend on it

    Raises FormatError; for the segments, too, and after those that could be read. A language model
    that gives other probabilities than the writer's is only found out at the end of a segment: what
    came before it is noise. Raises ModelMissing, ModelInvalid if the file needs one.
    """
    source = ByteReader(stream, name)
    header = EcdcHeader.parse(source)
    lm = _language_model(header) if header.lm else None
    return EcdcCodes(header, _segments(source, header, lm, one_thread))


def write_ecdc(sink: Writable, header: EcdcHeader, segments: Iterable[Segment]) -> int:
    """Write a file and return how many bytes it has.

    segments  for a model with segments, each of them with its scale; otherwise the frames cut
              anywhere, without scales

    Raises UsageError for codes that do not fit the header, ModelMissing, ModelInvalid.
    """
    lm = _language_model(header) if header.lm else None
    n_bytes = _write(sink, header.pack())
    given = iter(segments)
    for number, n_frames in enumerate(header.segment_frames()):
        writer = PackedWriter() if lm is None else LmWriter(lm)
        left = n_frames
        while left:
            segment = next(given, None)
            codes = _checked(header, segment, number, left)
            if segment is not None and segment.scale is not None:
                n_bytes += _write(sink, SCALE.pack(segment.scale))
            for start in range(0, codes.shape[1], PIECE_FRAMES):
                n_bytes += _write(sink, writer.write(codes[:, start : start + PIECE_FRAMES]))
            left -= codes.shape[1]
        n_bytes += _write(sink, writer.finish())
    if next(given, None) is not None:
        raise UsageError(f"segments: expected those of {header.n_samples} samples, found more")
    return n_bytes


def _segments(
    source: ByteReader, header: EcdcHeader, lm: "EncodecLm | None", one_thread: bool
) -> Iterator[Segment]:
    try:
        for number, n_frames in enumerate(header.segment_frames()):
            label = f"segment {number}"
            scale = source.scale(label) if header.geometry.has_scales else None
            n_q = header.n_codebooks
            reader = (
                PackedReader(source, label, n_q) if lm is None
                else LmReader(source, label, n_q, lm, one_thread=one_thread)
            )  # fmt: skip
            for start in range(0, n_frames, PIECE_FRAMES):
                yield Segment(reader.read(min(PIECE_FRAMES, n_frames - start)), scale)
            reader.finish()
    except FormatError as error:
        if lm is None:
            raise
        raise PayloadError(f"{error}; {_OTHER_FLOATS}") from None
    source.end()


def _language_model(header: EcdcHeader) -> "EncodecLm":
    """Return the language model that a file needs. Raises ModelMissing, ModelInvalid."""
    file = find_for(header.model)
    if file is None:
        raise ModelMissing(
            f"language model of {header.model!r}: not installed; "
            f"`ncodec models pull {header.model}_lm` fetches it"
        )
    lm = load(file)
    found, expected = lm.config, (header.geometry.n_codebooks, 1 << CODE_BITS)
    if (found.n_codebooks, found.codebook_size) != expected:
        raise ModelInvalid(
            f"{file.path}: {found.n_codebooks} codebooks of {found.codebook_size} codes, "
            f"expected {expected[0]} of {expected[1]}"
        )
    return lm


def _checked(header: EcdcHeader, segment: Segment | None, number: int, left: int) -> SegmentCodes:
    """Return the codes of a segment, of which `left` frames are missing. Raises UsageError."""
    place = f"segment {number}"
    if segment is None:
        raise UsageError(f"{place}: {left} more frames expected, found none")
    codes = np.asarray(segment.codes)
    if codes.dtype.kind not in "iu" or codes.ndim != 2 or len(codes) != header.n_codebooks:
        wanted = f"expected integers [{header.n_codebooks}, frames]"
        raise UsageError(f"{place}: {wanted}, found {codes.dtype} {list(codes.shape)}")
    n_frames, whole = codes.shape[1], header.geometry.has_scales
    if not 1 <= n_frames <= left or (whole and n_frames != left):
        wanted = f"{left}" if whole else f"1 to {left}"
        raise UsageError(f"{place}: {n_frames} frames, expected {wanted}")
    low, high = int(codes.min()), int(codes.max())
    if low < 0 or high >> CODE_BITS:
        limit = (1 << CODE_BITS) - 1
        raise UsageError(f"{place}: codes {low} to {high}, expected 0 to {limit}")
    scale = segment.scale
    if (scale is not None) != whole or (scale is not None and not _is_level(scale)):
        wanted = "a finite number that is not negative" if whole else "none"
        raise UsageError(f"{place}: scale {scale}, expected {wanted}")
    return codes.astype(np.int64, copy=False)


def _is_level(scale: float) -> bool:
    return isfinite(scale) and 0 <= scale <= float(np.finfo(np.float32).max)


def _write(sink: Writable, blob: bytes) -> int:
    left = memoryview(blob)
    while left:
        n_bytes = sink.write(left)
        if n_bytes == 0:
            raise OSError("the stream takes no data")
        left = left[len(left) if n_bytes is None else n_bytes :]
    return len(blob)
