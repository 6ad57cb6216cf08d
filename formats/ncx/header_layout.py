"""The fields and numbers of the header (NCX.md, sections 2, 3 and 6)."""

from ncodec.errors import ChecksumMismatch, LimitExceeded, UnsupportedVersion
from ncodec.formats.ncx.layout import VARINT_LIMIT, Field
from ncodec.formats.ncx.signature import SIGNATURE_FIELD

VERSION = 0x10  # major << 4 | minor; of a file that needs no later one
VERSION_OF_EDIT_LIST = 0x11
VERSION_OF_ATTACHMENTS = 0x12
VERSION_OF_CHANNEL_COPIES = 0x13
VERSION_OF_MIXED_CODER = 0x13
FINGERPRINT_BYTES = 4

ARCHITECTURES = {
    1: "spectral", 2: "soundstream", 3: "encodec", 4: "hilcodec", 5: "dac", 6: "snac", 7: "mimi",
}  # fmt: skip
ENTROPY_CODERS = {0: "packed", 1: "adaptive", 2: "transformer", 3: "mixed"}
CODER_NUMBERS = {name: number for number, name in ENTROPY_CODERS.items()}
ENTROPY_PACKED, ENTROPY_ADAPTIVE, ENTROPY_TRANSFORMER, ENTROPY_MIXED = ENTROPY_CODERS
CODEC_PARAMETERS = 0x01
CHANNEL_COPIES = 0x02
REQUIRED_CODEC_PARAMETERS = 0x81
EDIT_LIST = 0x82
ATTACHED = 0x83
KNOWN_CRITICAL = (REQUIRED_CODEC_PARAMETERS, EDIT_LIST, ATTACHED)
CRITICAL_BIT = 0x80

_NEWER = ": a newer version of ncodec may read the file"

VERSION_FIELD = Field("version", "u8", 16, 31, UnsupportedVersion, _NEWER)
HEADER_LENGTH = Field("header_length", "varint", 0, 65536, LimitExceeded)
ARCHITECTURE = Field("architecture", "u8", 1, 255)
MODEL_ID = Field("model_id", "text", 0, 64)
MODEL_FINGERPRINT = Field("model_fingerprint", "bytes", 4, 4)
ENTROPY = Field("entropy", "u8", 0, 3, UnsupportedVersion, _NEWER)
ENTROPY_MODEL_ID = Field("entropy_model_id", "text", 0, 64)
ENTROPY_FINGERPRINT = Field("entropy_fingerprint", "bytes", 4, 4)
SAMPLE_RATE_HZ = Field("sample_rate_hz", "varint", 1, 1_000_000)
N_CHANNELS = Field("n_channels", "u8", 1, 64)
N_STREAMS = Field("n_streams", "u8", 1, 64)
CODEBOOK_SIZE = Field("codebook_size", "varint", 2, 65536)
N_CODEBOOKS = Field("n_codebooks", "u8", 1, 128)
SAMPLES_PER_FRAME = Field("samples_per_frame", "varint", 1, 65536)
BITRATE_BPS = Field("bitrate_bps", "varint", 0, 1_000_000_000)
SOURCE_SAMPLE_RATE_HZ = Field("source_sample_rate_hz", "varint", 0, 1_000_000)
N_SAMPLES = Field("n_samples", "varint", 0, VARINT_LIMIT - 1)
TAG_COUNT = Field("tag_count", "varint", 0, 1024, LimitExceeded)
TAG = Field("tag", "text", 2, 65536, LimitExceeded)
EXTENSION_ID = Field("extension_id", "u8", 1, 255)
EXTENSION = Field("extension", "blob", 0, 65536, LimitExceeded)
HEADER_CRC = Field("header_crc", "u32", refusal=ChecksumMismatch)

HEADER_FIELDS = (
    SIGNATURE_FIELD, VERSION_FIELD, HEADER_LENGTH, ARCHITECTURE, MODEL_ID, MODEL_FINGERPRINT,
    ENTROPY, ENTROPY_MODEL_ID, ENTROPY_FINGERPRINT, SAMPLE_RATE_HZ, N_CHANNELS, N_STREAMS,
    CODEBOOK_SIZE, N_CODEBOOKS, SAMPLES_PER_FRAME, BITRATE_BPS, SOURCE_SAMPLE_RATE_HZ, N_SAMPLES,
    TAG_COUNT, TAG, EXTENSION_ID, EXTENSION, HEADER_CRC,
)  # fmt: skip
