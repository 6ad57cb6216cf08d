"""The codes of clips, those of many short ones decoded together where a transformer coded them.

Shapes: S streams, Q codebooks, F frames.
"""

from collections.abc import Iterator, Sequence

from ncodec.batch.batch_decode import SHORT_BYTES, ShortFile, decode_together, short_of
from ncodec.batch.data.sources import Clip, Kind, open_clip
from ncodec.bitstream.clips import CodesFacts, facts_of_packets, read_clip
from ncodec.bitstream.codes import Codes, join
from ncodec.entropy import CODER_NUMBERS

_AT_ONCE = 64  # clips


def in_groups(clips: Sequence[Clip], kind: Kind) -> Iterator[tuple[Clip, ShortFile | None]]:
    """Yield each clip, and its codes where those of some clips were decoded together.

    Raises NcodecError for a file that is not of the kind.
    """
    if kind.header.entropy != CODER_NUMBERS["transformer"]:
        yield from ((clip, None) for clip in clips)
        return
    for first in range(0, len(clips), _AT_ONCE):
        some = clips[first : first + _AT_ONCE]
        shorts = [_read_short(clip) for clip in some]
        for clip, short in zip(some, shorts, strict=True):
            if short is not None:
                kind.check(short.reader.header, clip.title)
        done = {id(short) for short in decode_together([one for one in shorts if one is not None])}
        for clip, short in zip(some, shorts, strict=True):
            yield clip, short if id(short) in done else None


def read_all(clips: Sequence[Clip], kind: Kind) -> Iterator[tuple[Clip, Codes, CodesFacts]]:
    """Yield each clip, its codes [S, Q, F] and their facts. Raises as `in_groups`, FormatError."""
    for clip, short in in_groups(clips, kind):
        if short is not None and short.codes is not None:
            header = short.reader.header
            codes = join(short.codes, header)[:, : kind.n_q]
            facts = facts_of_packets(header, short.packets, kind.n_q, header.n_samples)
        else:
            with open_clip(clip) as reader:
                kind.check(reader.header, clip.title)
                codes, facts = read_clip(reader, n_q=kind.n_q)
        yield clip, codes, facts


def _read_short(clip: Clip) -> ShortFile | None:
    """Return a short clip; None for one to be read alone."""
    with clip.path.open("rb") as file:
        file.seek(clip.start)
        n_bytes = SHORT_BYTES + 1 if clip.n_bytes is None else min(clip.n_bytes, SHORT_BYTES + 1)
        return short_of(clip.title, file.read(n_bytes))
