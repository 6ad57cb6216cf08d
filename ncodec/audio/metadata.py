"""What belongs to audio besides its samples: tags, pictures, and what of them cannot be kept."""

from collections.abc import Iterable
from dataclasses import dataclass

from ncodec.formats.ncx import Picture, Tags


@dataclass(frozen=True, slots=True)
class Metadata:
    """The tags and pictures of a source.

    tags      keys of Vorbis comments in upper case, and texts; see `ncodec.audio.tags`
    left_out  what the source has and no .ncx file can hold, in words
    """

    tags: Tags = ()
    pictures: tuple[Picture, ...] = ()
    left_out: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.tags or self.pictures or self.left_out)

    def merged(self, other: "Metadata") -> "Metadata":
        """Return this, and of another the tags whose keys it lacks; pictures if it has none."""
        there = {key for key, _ in self.tags}
        return Metadata(
            self.tags + tuple(tag for tag in other.tags if tag[0] not in there),
            self.pictures or other.pictures,
            tuple(dict.fromkeys(self.left_out + other.left_out)),
        )


NOTHING = Metadata()


def storable(tags: Iterable[tuple[str, str]], pictures: Iterable[Picture] = ()) -> Metadata:
    """Return what a .ncx file can hold of tags and pictures. A tag without text is none."""
    kept: list[tuple[str, str]] = []
    left: list[str] = []
    for key, text in tags:
        if text and (fault := _fault(key, text)):
            left.append(f"the tag {key!a}, {fault}")
        elif text:
            kept.append((key, text))
    return Metadata(tuple(kept), tuple(pictures), tuple(dict.fromkeys(left)))


def _fault(key: str, text: str) -> str:
    """Return why a .ncx file cannot hold a tag, "" if it can."""
    if not key or not all(" " <= char <= "}" and char != "=" for char in key):
        return "whose name is not of the letters that a name can have"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "whose text is not Unicode"
    return ""
