"""The header of an .ncx file (NCX.md, section 2)."""

import re
import zlib
from dataclasses import dataclass, replace
from typing import Self

from ncodec.errors import FormatError, InvalidField
from ncodec.formats.ncx import header_layout as fields
from ncodec.formats.ncx.attachments import (
    ATTACHED_BYTES,
    PICTURE_KIND,
    Attachments,
    OnDamage,
    pack_attachments,
    parse_attached_bytes,
    read_attachments,
)
from ncodec.formats.ncx.cursor import BufferedStream, Cursor, Mark
from ncodec.formats.ncx.edit_list import Edit, parse_edits
from ncodec.formats.ncx.layout import pack_bytes, pack_number, pack_text, pack_varint
from ncodec.formats.ncx.pictures import Picture
from ncodec.formats.ncx.signature import SIGNATURE, read_signature
from ncodec.formats.ncx.tags import Tags, check_extensions, check_tags, parse_extensions, parse_tags

_ID = re.compile(r"[A-Za-z0-9._-]*")
_ATTACHED_ROOM = 6  # bytes of the extension that says that there are attachments, at most


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says about all its packets.

    Raises the error of the field that is out of range, on construction. `n_samples` counts the
    source, per channel at `source_sample_rate_hz`; None means unknown. A `source_sample_rate_hz` of
    0 becomes `sample_rate_hz`; an empty `entropy_model_id` becomes `model_id` for the transformer.
    """

    architecture: int
    model_id: str
    model_fingerprint: bytes  # 4 bytes
    sample_rate_hz: int  # of the decoded audio
    n_channels: int  # that are coded
    codebook_size: int
    n_codebooks: int  # per stream
    samples_per_frame: int  # per channel
    n_streams: int = 1  # divides n_channels
    entropy: int = fields.ENTROPY_PACKED
    entropy_model_id: str = ""
    entropy_fingerprint: bytes = b""  # 4 bytes for the transformer
    bitrate_bps: int = 0  # nominal, all streams; 0 is unspecified
    source_sample_rate_hz: int = 0
    n_samples: int | None = None
    tags: Tags = ()
    extensions: tuple[tuple[int, bytes], ...] = ()
    attachments: Attachments = ()  # kinds and contents, but for tags

    def __post_init__(self) -> None:
        if self.source_sample_rate_hz == 0:
            object.__setattr__(self, "source_sample_rate_hz", self.sample_rate_hz)
        if self.entropy == fields.ENTROPY_TRANSFORMER and not self.entropy_model_id:
            object.__setattr__(self, "entropy_model_id", self.model_id)
        ids = {"model_id": self.model_id, "entropy_model_id": self.entropy_model_id}
        for name, model_id in ids.items():
            if not _ID.fullmatch(model_id):
                raise InvalidField(f"{name} is {model_id!a}, expected only A-Z a-z 0-9 . _ -")
        if self.entropy != fields.ENTROPY_TRANSFORMER and (
            self.entropy_model_id or self.entropy_fingerprint
        ):
            raise InvalidField("only the transformer coder has an entropy model")
        if not self.model_id:
            raise InvalidField("model_id is empty")
        if self.n_samples is not None and self.n_samples < 0:
            raise InvalidField(f"n_samples is {self.n_samples}, expected 0 or more")
        check_tags(self.tags)
        check_extensions(self.extensions)
        if self.attached_bytes and self.attachments:
            raise InvalidField("attached_bytes is given, and attachments are too")
        self._check_edits()
        self.pack()  # checks the range of every field
        if self.n_channels % self.n_streams:
            fault = f"{self.n_channels} channels cannot be shared by {self.n_streams} streams"
            raise InvalidField(f"n_streams: {fault}")

    def _check_edits(self) -> None:
        if self.edits and self.n_samples != (total := sum(edit.n_samples for edit in self.edits)):
            raise InvalidField(
                f"edit list: {total} samples in all, but n_samples is {self.n_samples}"
            )

    @property
    def edits(self) -> tuple[Edit, ...]:
        """What the file was cut out of or put together from; none: its packets are one whole."""
        content = self.extension(fields.EDIT_LIST)
        return () if content is None else parse_edits(content)

    @property
    def n_copies(self) -> int:
        """How many equal channels the single one stands for; 1 where nothing says so."""
        content = self.extension(fields.CHANNEL_COPIES)
        if content is None or len(content) != 1 or self.n_channels != 1:
            return 1
        return content[0] if 2 <= content[0] <= fields.N_CHANNELS.high else 1

    @property
    def n_output_channels(self) -> int:
        """Channels of the decoded audio, copies included."""
        return self.n_channels * self.n_copies

    @property
    def attached_bytes(self) -> int:
        """Bytes of attachments that follow a header that was read without them."""
        content = self.extension(fields.ATTACHED)
        return 0 if content is None else parse_attached_bytes(content)

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """The pictures that are attached."""
        return tuple(
            Picture.parse(content) for kind, content in self.attachments if kind == PICTURE_KIND
        )

    def with_pictures(self, pictures: tuple[Picture, ...]) -> Self:
        """Return the header with these pictures instead of its own."""
        if pictures == self.pictures:
            return self
        others = tuple(one for one in self.attachments if one[0] != PICTURE_KIND)
        packed = tuple((PICTURE_KIND, picture.pack()) for picture in pictures)
        return replace(self, attachments=packed + others)

    @property
    def frame_rate_hz(self) -> float:
        """Frames per second."""
        return self.sample_rate_hz / self.samples_per_frame

    @property
    def channels_per_stream(self) -> int:
        """Audio channels that one code stream carries."""
        return self.n_channels // self.n_streams

    @property
    def codes_per_frame(self) -> int:
        """Codes in one frame of all streams."""
        return self.n_streams * self.n_codebooks

    @property
    def bits_per_frame(self) -> int:
        """Bits of one frame of one stream when packed."""
        return self.n_codebooks * (self.codebook_size - 1).bit_length()

    @property
    def duration_s(self) -> float | None:
        """Length of the source in seconds, None if unknown."""
        return None if self.n_samples is None else self.n_samples / self.source_sample_rate_hz

    def tag(self, key: str) -> tuple[str, ...]:
        """Return the values of the tags named `key` (in either case), in their order."""
        return tuple(value for name, value in self.tags if name.upper() == key.upper())

    def extension(self, number: int) -> bytes | None:
        """Return the content of the extension `number`, None if there is none."""
        return dict(self.extensions).get(number)

    def pack(self, version: int = fields.VERSION) -> bytes:
        """Return the file's first bytes, from the signature to the last attachment.

        version  the lowest that is written, major << 4 | minor
        """
        start = self._pack_start()
        n_inside = self._n_tags_inside(len(start))
        attached = pack_attachments(self.tags[n_inside:], self.attachments)
        extensions = self.extensions
        if attached:
            extensions += ((fields.ATTACHED, pack_number(ATTACHED_BYTES, len(attached))),)
        parts = [start]
        if n_inside or extensions:
            parts.append(pack_number(fields.TAG_COUNT, n_inside))
        parts += [pack_text(fields.TAG, f"{key}={value}") for key, value in self.tags[:n_inside]]
        parts += map(_pack_extension, extensions)
        body = b"".join(parts)
        numbers = dict(extensions)
        if self.entropy == fields.ENTROPY_MIXED:
            version = max(version, fields.VERSION_OF_MIXED_CODER)
        if fields.CHANNEL_COPIES in numbers:
            version = max(version, fields.VERSION_OF_CHANNEL_COPIES)
        elif fields.ATTACHED in numbers:
            version = max(version, fields.VERSION_OF_ATTACHMENTS)
        elif fields.EDIT_LIST in numbers:
            version = max(version, fields.VERSION_OF_EDIT_LIST)
        head = bytes((version,)) + pack_number(fields.HEADER_LENGTH, len(body))
        packed = SIGNATURE + head + body
        return packed + zlib.crc32(packed).to_bytes(4, "little") + attached

    def _n_tags_inside(self, n_before: int) -> int:
        """Return how many tags the header itself holds: all, or as many as there is room for."""
        room = fields.HEADER_LENGTH.high - n_before
        room -= sum(len(_pack_extension(one)) for one in self.extensions)
        n_inside = _n_fitting(self.tags, room)
        if n_inside == len(self.tags) and not self.attachments:
            return n_inside
        return _n_fitting(self.tags, room - _ATTACHED_ROOM)

    def _pack_start(self) -> bytes:
        """Return the body up to the tags."""
        same = self.model_id == fields.ARCHITECTURES.get(self.architecture)
        parts = [
            pack_number(fields.ARCHITECTURE, self.architecture),
            pack_text(fields.MODEL_ID, "" if same else self.model_id),
            pack_bytes(fields.MODEL_FINGERPRINT, self.model_fingerprint),
            pack_number(fields.ENTROPY, self.entropy),
        ]
        if self.entropy == fields.ENTROPY_TRANSFORMER:
            same = self.entropy_model_id == self.model_id
            parts.append(pack_text(fields.ENTROPY_MODEL_ID, "" if same else self.entropy_model_id))
            parts.append(pack_bytes(fields.ENTROPY_FINGERPRINT, self.entropy_fingerprint))
        same = self.source_sample_rate_hz == self.sample_rate_hz
        parts += [
            pack_number(fields.SAMPLE_RATE_HZ, self.sample_rate_hz),
            pack_number(fields.N_CHANNELS, self.n_channels),
            pack_number(fields.N_STREAMS, self.n_streams),
            pack_number(fields.CODEBOOK_SIZE, self.codebook_size),
            pack_number(fields.N_CODEBOOKS, self.n_codebooks),
            pack_number(fields.SAMPLES_PER_FRAME, self.samples_per_frame),
            pack_number(fields.BITRATE_BPS, self.bitrate_bps),
            pack_number(fields.SOURCE_SAMPLE_RATE_HZ, 0 if same else self.source_sample_rate_hz),
            pack_number(fields.N_SAMPLES, 0 if self.n_samples is None else self.n_samples + 1),
        ]
        return b"".join(parts)

    @classmethod
    def read(
        cls, source: BufferedStream, marks: list[Mark] | None = None,
        on_damage: OnDamage | None = None,
    ) -> Self:  # fmt: skip
        """Read the header at the start of a file, and what is attached: packet 0 comes next.

        on_damage  takes damage of attachments, which are then left out
        """
        cursor = Cursor(source, "header", marks)
        alone = cls.parse(cursor)
        source.drop(cursor.at)
        return alone.with_attached(source, marks, on_damage)

    def with_attached(
        self, source: BufferedStream, marks: list[Mark] | None, on_damage: OnDamage | None
    ) -> Self:
        """Read what is attached to a header that was read alone; return the whole."""
        if not self.attached_bytes:
            return self
        tags, attachments = read_attachments(source, self.attached_bytes, marks, on_damage)
        return replace(
            self, tags=self.tags + tags, extensions=self.extensions[:-1], attachments=attachments
        )

    @classmethod
    def parse(cls, cursor: Cursor) -> Self:
        """Read a header at the start of a file, alone: `attached_bytes` come next."""
        read_signature(cursor)
        cursor.number(fields.VERSION_FIELD)
        length = cursor.number(fields.HEADER_LENGTH)
        cursor.end = cursor.at + length
        cursor.verify(fields.HEADER_CRC, cursor.end)
        architecture = cursor.number(fields.ARCHITECTURE)
        model_id = cls._parse_model_id(cursor, fields.ARCHITECTURES.get(architecture))
        model_fingerprint = cursor.raw(fields.MODEL_FINGERPRINT, fields.FINGERPRINT_BYTES)
        entropy = cursor.number(fields.ENTROPY)
        entropy_model_id, entropy_fingerprint = "", b""
        if entropy == fields.ENTROPY_TRANSFORMER:
            entropy_model_id = cursor.text(fields.ENTROPY_MODEL_ID)
            if entropy_model_id == model_id:
                raise cursor.error(InvalidField, "entropy_model_id must be empty for the same id")
            entropy_fingerprint = cursor.raw(fields.ENTROPY_FINGERPRINT, fields.FINGERPRINT_BYTES)
        sample_rate_hz = cursor.number(fields.SAMPLE_RATE_HZ)
        n_channels = cursor.number(fields.N_CHANNELS)
        n_streams = cursor.number(fields.N_STREAMS)
        codebook_size = cursor.number(fields.CODEBOOK_SIZE)
        n_codebooks = cursor.number(fields.N_CODEBOOKS)
        samples_per_frame = cursor.number(fields.SAMPLES_PER_FRAME)
        bitrate_bps = cursor.number(fields.BITRATE_BPS)
        source_sample_rate_hz = cursor.number(fields.SOURCE_SAMPLE_RATE_HZ)
        if source_sample_rate_hz == sample_rate_hz:
            raise cursor.error(InvalidField, "source_sample_rate_hz must be 0 for the same rate")
        n_samples = cursor.number(fields.N_SAMPLES)
        tags = parse_tags(cursor, cursor.end)
        extensions = parse_extensions(cursor, cursor.end)
        cursor.end = None
        cursor.number(fields.HEADER_CRC)
        try:
            return cls(
                architecture=architecture,
                model_id=model_id,
                model_fingerprint=model_fingerprint,
                sample_rate_hz=sample_rate_hz,
                n_channels=n_channels,
                codebook_size=codebook_size,
                n_codebooks=n_codebooks,
                samples_per_frame=samples_per_frame,
                n_streams=n_streams,
                entropy=entropy,
                entropy_model_id=entropy_model_id,
                entropy_fingerprint=entropy_fingerprint,
                bitrate_bps=bitrate_bps,
                source_sample_rate_hz=source_sample_rate_hz,
                n_samples=n_samples - 1 if n_samples else None,
                tags=tags,
                extensions=extensions,
            )
        except FormatError as error:
            raise cursor.error(type(error), str(error), 0) from None

    @staticmethod
    def _parse_model_id(cursor: Cursor, usual: str | None) -> str:
        """Read the id, or take the `usual` one of the architecture for none."""
        model_id = cursor.text(fields.MODEL_ID)
        if model_id == usual:
            raise cursor.error(InvalidField, "model_id must be empty for the architecture's name")
        if not model_id and usual is None:
            raise cursor.error(InvalidField, "model_id is empty for an architecture without a name")
        return model_id or usual or ""


def _pack_extension(extension: tuple[int, bytes]) -> bytes:
    number, content = extension
    return pack_number(fields.EXTENSION_ID, number) + pack_bytes(fields.EXTENSION, content)


def _n_fitting(tags: Tags, room: int) -> int:
    """Return how many of the tags, from the first on, fit in `room` bytes with their count."""
    n_bytes = 0
    for number, (key, value) in enumerate(tags):
        size = len(f"{key}={value}".encode("utf-8", "replace"))
        n_bytes += len(pack_varint(size)) + size
        fits = n_bytes + len(pack_varint(number + 1)) <= room
        if not fits or size > fields.TAG.high or number == fields.TAG_COUNT.high:
            return number
    return len(tags)
