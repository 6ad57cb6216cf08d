"""Pictures, as PICTURE metadata blocks of FLAC (RFC 9639, section 8.8)."""

import struct
from dataclasses import dataclass
from typing import Self

from ncodec.errors import InvalidField

KINDS_OF_PICTURES = (
    "other", "icon of 32x32", "icon", "front cover", "back cover", "leaflet", "medium",
    "lead artist", "artist", "conductor", "band", "composer", "lyricist", "place of recording",
    "during recording", "during performance", "screen capture", "a bright coloured fish",
    "illustration", "logo of the artist", "logo of the publisher",
)  # fmt: skip
OTHER_PICTURE, FRONT_COVER = 0, 3
_NUMBER = struct.Struct(">I")
_SIZES = struct.Struct(">4I")


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that belongs to the audio.

    A `media_type` of "-->" says that `data` is an address. Sizes are 0 where they are not known.
    """

    data: bytes
    media_type: str = ""  # such as image/jpeg
    kind: int = FRONT_COVER  # as ID3v2 numbers them
    description: str = ""
    width: int = 0  # pixels
    height: int = 0
    depth: int = 0  # bits per pixel
    n_colours: int = 0  # of a palette

    def pack(self) -> bytes:
        """Return the block. Raises InvalidField for what it cannot hold."""
        try:
            media_type, description = self.media_type.encode("ascii"), self.description.encode()
            sizes = _SIZES.pack(self.width, self.height, self.depth, self.n_colours)
            kind = _NUMBER.pack(self.kind)
        except (struct.error, UnicodeEncodeError) as error:
            raise InvalidField(f"picture: {error}") from None
        parts = [kind, *map(_counted, (media_type, description)), sizes, _counted(self.data)]
        return b"".join(parts)

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """Return the picture of a block. Raises InvalidField."""
        kind, at = _number(content, 0, "type")
        media_type, at = _taken(content, at, "media type")
        description, at = _taken(content, at, "description")
        if len(content) < at + _SIZES.size:
            raise InvalidField("picture: its sizes are cut off")
        sizes = _SIZES.unpack_from(content, at)
        data, at = _taken(content, at + _SIZES.size, "data")
        if at != len(content):
            raise InvalidField(f"picture: {len(content) - at} bytes follow its data")
        try:
            texts = media_type.decode("ascii"), description.decode()
        except UnicodeDecodeError as error:
            raise InvalidField(f"picture: its media type or description: {error.reason}") from None
        return cls(data, texts[0], kind, texts[1], *sizes)


def _counted(content: bytes) -> bytes:
    return _NUMBER.pack(len(content)) + content


def _number(content: bytes, at: int, what: str) -> tuple[int, int]:
    if len(content) < at + _NUMBER.size:
        raise InvalidField(f"picture: its {what} is cut off")
    return _NUMBER.unpack_from(content, at)[0], at + _NUMBER.size


def _taken(content: bytes, at: int, what: str) -> tuple[bytes, int]:
    """Return what a length and as many bytes hold, and where they end."""
    length, at = _number(content, at, what)
    if length > len(content) - at:
        fault = f"its {what} has a length of {length}, but {len(content) - at} bytes are left"
        raise InvalidField(f"picture: {fault}")
    return content[at : at + length], at + length
