"""The codes of many .ncx files at once: a step of the transformer serves all of their packets.

Shapes: S streams, Q codebooks, F frames.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from ncodec.bitstream.codes import Codes, coder_for, digest_bytes, iterate_codes
from ncodec.entropy import CODER_NUMBERS
from ncodec.errors import FormatError, ModelError, NcodecError
from ncodec.formats.ncx import CodesDigest, Header, Packet, Reader

SHORT_BYTES = 64 << 10  # of files whose codes are decoded with those of others


@dataclass(slots=True)
class ShortFile:
    """A short file that was read."""

    reader: Reader
    packets: list[Packet]
    codes: list[Codes] | None = None  # of each packet


def read_short(name: str, path: Path) -> ShortFile | None:
    """Return what a short file holds; None if it is long, damaged, or of a kind to do alone."""
    with path.open("rb") as file:
        return short_of(name, file.read(SHORT_BYTES + 1))


def short_of(name: str, content: bytes) -> ShortFile | None:
    """Return the same of a file's bytes, or of more than SHORT_BYTES of them."""
    if len(content) > SHORT_BYTES:
        return None
    try:
        reader = Reader(BytesIO(content), name)
        packets = list(reader)
    except FormatError:
        return None
    header = reader.header
    is_plain = header.entropy == CODER_NUMBERS["transformer"] and header.n_samples is not None
    if not is_plain or any(packet.dependent for packet in packets):
        return None
    return ShortFile(reader, packets)


def decode_together(files: Sequence[ShortFile]) -> list[ShortFile]:
    """Find the codes of files; return those whose codes are what they should be."""
    groups: dict[tuple[object, ...], list[ShortFile]] = {}
    for file in files:
        groups.setdefault(_coding(file.reader.header), []).append(file)
    for group in groups.values():
        _decode_alike(group)
    return [file for file in files if _is_right(file)]


def _coding(header: Header) -> tuple[object, ...]:
    """Return what files share that one coder decodes."""
    return (
        header.entropy_model_id, header.entropy_fingerprint, header.n_streams, header.n_codebooks,
        header.codebook_size,
    )  # fmt: skip


def _decode_alike(files: Sequence[ShortFile]) -> None:
    try:
        coder = coder_for(files[0].reader.header)
        packets = [packet for file in files for packet in file.packets]
        found = coder.decode_many(
            [packet.payload for packet in packets], [packet.n_frames for packet in packets]
        )
    except (FormatError, ModelError):  # each of them will say so by itself
        return
    left = iter(found)
    for file in files:
        codes = [next(left) for _ in file.packets]
        whole = [some for some in codes if not isinstance(some, Exception)]
        if len(whole) == len(codes):
            file.codes = whole


def _is_right(file: ShortFile) -> bool:
    if file.codes is None or file.reader.trailer is None:
        return False
    digest = CodesDigest()
    for codes in file.codes:
        digest.update(digest_bytes(codes))
    return digest.digest() == file.reader.trailer.codes_digest


def check_files(paths: Sequence[Path]) -> list[str]:
    """Return what is wrong with each file: checksums, structure, digest of the decoded codes."""
    read = [read_short(path.name, path) for path in paths]
    right = {id(file) for file in decode_together([file for file in read if file is not None])}
    return [
        "" if file is not None and id(file) in right else _fault(path)
        for path, file in zip(paths, read, strict=True)
    ]


def _fault(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            for _ in iterate_codes(Reader(stream, "what was written")):
                pass
    except NcodecError as error:
        return str(error)
    return ""
