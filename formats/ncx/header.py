"""The header of an .ncx file (NCX.md, section 2)."""

import re
import zlib
from dataclasses import dataclass
from typing import Self

from ncodec.errors import FormatError, InvalidField
from ncodec.formats.ncx import header_layout as fields
from ncodec.formats.ncx.cursor import Cursor
from ncodec.formats.ncx.edit_list import Edit, parse_edits
from ncodec.formats.ncx.layout import pack_bytes, pack_number, pack_text
from ncodec.formats.ncx.signature import SIGNATURE, read_signature
from ncodec.formats.ncx.tags import check_extensions, check_tags, parse_extensions, parse_tags

_ID = re.compile(r"[A-Za-z0-9._-]*")


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
    n_channels: int  # of the decoded audio
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
    tags: tuple[tuple[str, str], ...] = ()
    extensions: tuple[tuple[int, bytes], ...] = ()

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

    def pack(self) -> bytes:
        """Return the file's first bytes, from the signature to the header's CRC."""
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
        if self.tags or self.extensions:
            parts.append(pack_number(fields.TAG_COUNT, len(self.tags)))
        parts += [pack_text(fields.TAG, f"{key}={value}") for key, value in self.tags]
        for number, content in self.extensions:
            parts += [
                pack_number(fields.EXTENSION_ID, number),
                pack_bytes(fields.EXTENSION, content),
            ]
        body = b"".join(parts)
        packed = (
            SIGNATURE
            + bytes((fields.VERSION_OF_EDIT_LIST if self.edits else fields.VERSION,))
            + pack_number(fields.HEADER_LENGTH, len(body))
            + body
        )
        return packed + zlib.crc32(packed).to_bytes(4, "little")

    @classmethod
    def parse(cls, cursor: Cursor) -> Self:
        """Read a header at the start of a file."""
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
