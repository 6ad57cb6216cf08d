"""A row of a manifest: what a clip is, and what is needed to make its .ncx file again."""

from collections.abc import Mapping
from typing import Any

from ncodec.bitstream.clips import CodesFacts
from ncodec.errors import FormatError, NcodecError
from ncodec.formats.ncx import Header

Row = dict[str, Any]

_OF_HEADER = {  # keys of a row, and the header's fields
    "architecture": "architecture", "model": "model_id", "streams": "n_streams",
    "codebooks": "n_codebooks", "codebook_size": "codebook_size", "channels": "n_channels",
    "sample_rate_hz": "sample_rate_hz", "samples_per_frame": "samples_per_frame",
    "source_sample_rate_hz": "source_sample_rate_hz", "bitrate_bps": "bitrate_bps",
}  # fmt: skip


def row_of(key: str, path: str, facts: CodesFacts, speaker: str, text: str) -> Row:
    """Return the row of a clip, of plain JSON values. Pictures are left out."""
    header = facts.header
    row: Row = {
        "key": key,
        "path": path,
        "model": header.model_id,
        "fingerprint": header.model_fingerprint.hex(),
        "frames": facts.n_frames,
        "duration": facts.duration_s,
        "speaker": speaker,
        "text": text,
    }
    row |= {name: getattr(header, field) for name, field in _OF_HEADER.items()}
    row["samples"] = facts.n_samples
    row["tags"] = [list(tag) for tag in header.tags]
    row["extensions"] = [[str(number), content.hex()] for number, content in header.extensions]
    row["packet_frames"] = list(facts.packet_frames)
    row["scales"] = [list(scales) for scales in facts.scales]
    return row


def facts_of(row: Mapping[str, Any], title: str) -> CodesFacts:
    """Return what `row_of` was given. Raises NcodecError for a row that it did not make."""
    try:
        n_samples = row["samples"]
        if type(n_samples) is not int or n_samples < 0:
            raise ValueError(f"samples is {n_samples!r}")
        fields = {field: row[name] for name, field in _OF_HEADER.items()}
        header = Header(
            **fields,
            model_fingerprint=bytes.fromhex(row["fingerprint"]),
            n_samples=n_samples,
            tags=tuple((str(name), str(value)) for name, value in row["tags"]),
            extensions=tuple(
                (int(number), bytes.fromhex(content)) for number, content in row["extensions"]
            ),
        )
        packet_frames = tuple(int(size) for size in row["packet_frames"])
        scales = tuple(tuple(float(one) for one in scales) for scales in row["scales"])
        if min(packet_frames, default=1) < 1 or sum(packet_frames) != row["frames"]:
            raise ValueError(f"packets of {sum(packet_frames)} frames in all")
    except FormatError as error:
        raise error.within(title) from None
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise NcodecError(f"{title}: not a row of a manifest: {error!r}") from None
    return CodesFacts(header, packet_frames, scales, n_samples=n_samples)
