"""The .ncx container: codes of a neural audio codec. Its specification is formats/NCX.md.

>>> with open("song.ncx", "rb") as stream:
...     reader = Reader(stream, "song.ncx")
...     for packet in reader:
...         decode(reader.header, packet.payload)
"""

from ncodec.formats.ncx.annotate import AnnotatedField, annotate
from ncodec.formats.ncx.attachments import (
    MAX_ATTACHED_BYTES,
    MAX_ATTACHED_TAGS,
    MAX_ATTACHMENT_BYTES,
    MAX_ATTACHMENTS,
    PICTURE_KIND,
)
from ncodec.formats.ncx.edit_list import Edit, pack_edits
from ncodec.formats.ncx.header import Header
from ncodec.formats.ncx.header_layout import (
    ARCHITECTURES,
    CHANNEL_COPIES,
    CODEC_PARAMETERS,
    CODER_NUMBERS,
    EDIT_LIST,
    ENTROPY_ADAPTIVE,
    ENTROPY_CODERS,
    ENTROPY_MIXED,
    ENTROPY_PACKED,
    ENTROPY_TRANSFORMER,
    REQUIRED_CODEC_PARAMETERS,
)
from ncodec.formats.ncx.index import read_index, read_packet
from ncodec.formats.ncx.packets import (
    MAX_FRAMES,
    MAX_PACKETS,
    MAX_PAYLOAD_BYTES,
    MAX_SCALES_PER_STREAM,
    Packet,
)
from ncodec.formats.ncx.pictures import FRONT_COVER, KINDS_OF_PICTURES, OTHER_PICTURE, Picture
from ncodec.formats.ncx.reader import Reader
from ncodec.formats.ncx.recovery import Damage
from ncodec.formats.ncx.retag import check_tag, retag
from ncodec.formats.ncx.signature import SIGNATURE
from ncodec.formats.ncx.tags import Tags
from ncodec.formats.ncx.trailer import CodesDigest, Trailer
from ncodec.formats.ncx.writer import Writer

__all__ = [
    "ARCHITECTURES",
    "CHANNEL_COPIES",
    "CODEC_PARAMETERS",
    "CODER_NUMBERS",
    "EDIT_LIST",
    "ENTROPY_ADAPTIVE",
    "ENTROPY_CODERS",
    "ENTROPY_MIXED",
    "ENTROPY_PACKED",
    "ENTROPY_TRANSFORMER",
    "FRONT_COVER",
    "KINDS_OF_PICTURES",
    "MAX_ATTACHED_BYTES",
    "MAX_ATTACHED_TAGS",
    "MAX_ATTACHMENTS",
    "MAX_ATTACHMENT_BYTES",
    "MAX_FRAMES",
    "MAX_PACKETS",
    "MAX_PAYLOAD_BYTES",
    "MAX_SCALES_PER_STREAM",
    "OTHER_PICTURE",
    "PICTURE_KIND",
    "REQUIRED_CODEC_PARAMETERS",
    "SIGNATURE",
    "AnnotatedField",
    "CodesDigest",
    "Damage",
    "Edit",
    "Header",
    "Packet",
    "Picture",
    "Reader",
    "Tags",
    "Trailer",
    "Writer",
    "annotate",
    "check_tag",
    "pack_edits",
    "read_index",
    "read_packet",
    "retag",
]
