/**
 * The fields of all structures: the tables of NCX.md, sections 2 to 5.
 *
 * Numbers of fields that can be above 2^53 are bigints, all others are numbers.
 */
import {
  BadSignature,
  ChecksumMismatch,
  InvalidField,
  LimitExceeded,
  LostSync,
  UnsupportedVersion,
} from "./errors.js";

export const MAX_VARINT_BYTES = 9; // of 7 bits each
export const VARINT_LIMIT = 1n << 63n;

/** @typedef {"u8" | "u32" | "f32" | "varint" | "tnirav" | "bytes" | "blob" | "text"} Kind */
/** @typedef {typeof import("./errors.js").FormatError} Refusal */

/** One row of a table; `low` to `high` bound the stored number, or the length in bytes. */
export class Field {
  /**
   * @param {string} name
   * @param {Kind} kind
   * @param {number} [low]
   * @param {number | bigint} [high] a bigint: the field's values are bigints
   * @param {Refusal} [refusal]
   * @param {string} [advice] for the reader of the refusal
   */
  constructor(name, kind, low = 0, high = 0, refusal = InvalidField, advice = "") {
    this.name = name;
    this.kind = kind;
    this.low = low;
    this.high = high;
    this.refusal = refusal;
    this.advice = advice;
  }

  /**
   * Say what is wrong with a stored number or length.
   * @param {number | bigint} value
   * @returns {string | null} null: nothing
   */
  fault(value) {
    if (this.low <= value && value <= this.high) return null;
    const counted = ["blob", "bytes", "text"].includes(this.kind);
    const noun = counted ? `${this.name} has a length of` : `${this.name} is`;
    const expected = this.low === this.high ? `${this.low}` : `${this.low} to ${this.high}`;
    return `${noun} ${value}, expected ${expected}${this.advice}`;
  }
}

const NEWER = ": a newer version of ncodec may read the file";
const field = (/** @type {ConstructorParameters<typeof Field>} */ ...row) => new Field(...row);

/** Section 2. */
export const HEADER = {
  signature: field("signature", "bytes", 7, 7, BadSignature),
  version: field("version", "u8", 16, 31, UnsupportedVersion, NEWER),
  headerLength: field("header_length", "varint", 0, 65536, LimitExceeded),
  architecture: field("architecture", "u8", 1, 255),
  modelId: field("model_id", "text", 0, 64),
  modelFingerprint: field("model_fingerprint", "bytes", 4, 4),
  entropy: field("entropy", "u8", 0, 3, UnsupportedVersion, NEWER),
  entropyModelId: field("entropy_model_id", "text", 0, 64),
  entropyFingerprint: field("entropy_fingerprint", "bytes", 4, 4),
  sampleRateHz: field("sample_rate_hz", "varint", 1, 1_000_000),
  nChannels: field("n_channels", "u8", 1, 64),
  nStreams: field("n_streams", "u8", 1, 64),
  codebookSize: field("codebook_size", "varint", 2, 65536),
  nCodebooks: field("n_codebooks", "u8", 1, 128),
  samplesPerFrame: field("samples_per_frame", "varint", 1, 65536),
  bitrateBps: field("bitrate_bps", "varint", 0, 1_000_000_000),
  sourceSampleRateHz: field("source_sample_rate_hz", "varint", 0, 1_000_000),
  nSamples: field("n_samples", "varint", 0, VARINT_LIMIT - 1n),
  tagCount: field("tag_count", "varint", 0, 1024, LimitExceeded),
  tag: field("tag", "text", 2, 65536, LimitExceeded),
  extensionId: field("extension_id", "u8", 1, 255),
  extension: field("extension", "blob", 0, 65536, LimitExceeded),
  headerCrc: field("header_crc", "u32", 0, 0, ChecksumMismatch),
};

/** Section 3. */
export const ATTACHMENT = {
  kind: field("attachment_kind", "u8", 1, 255),
  content: field("attachment", "blob", 0, 16777215, LimitExceeded),
  crc: field("attachment_crc", "u32", 0, 0, ChecksumMismatch),
};
export const ATTACHED_BYTES = field("attached_bytes", "varint", 6, 67108864, LimitExceeded);
export const ATTACHED_TAG = field("tag", "text", 2, 16777215 - 4, LimitExceeded);

/** Section 4. */
export const PACKET = {
  sync: field("sync", "bytes", 2, 2, LostSync),
  number: field("number", "varint", 0, 16777215),
  framesFlags: field("frames_flags", "varint", 4, 262143),
  payloadLength: field("payload_length", "varint", 0, 4194304, LimitExceeded),
  scaleCount: field("scale_count", "varint", 1, 262144, LimitExceeded),
  scales: field("scales", "f32"),
  payload: field("payload", "bytes", 0, 4194304, LimitExceeded),
  crc: field("packet_crc", "u32", 0, 0, ChecksumMismatch),
};

/** Section 5. */
export const TRAILER = {
  marker: field("marker", "bytes", 2, 2, LostSync),
  countFlags: field("count_flags", "varint", 0, 134217735, LimitExceeded),
  totalSamples: field("total_samples", "varint", 0, VARINT_LIMIT - 2n),
  firstFrames: field("first_frames", "varint", 1, 65535),
  lastFrames: field("last_frames", "varint", 1, 65535),
  packetBytes: field("packet_bytes", "varint", 9, 5242900),
  packetFrames: field("packet_frames", "varint", 1, 65535),
  codesDigest: field("codes_digest", "bytes", 4, 4),
  crc: field("trailer_crc", "u32", 0, 0, ChecksumMismatch),
  length: field("trailer_length", "tnirav", 11, VARINT_LIMIT - 1n),
};

export const SYNC_WORD = [0xb5, 0x6e];
export const TRAILER_MARKER = [0xb5, 0x91];
export const MIN_PACKET_BYTES = 9;
export const MAX_SCALES_PER_STREAM = 4096;
export const MAX_ATTACHMENTS = 256;
export const MAX_ATTACHED_TAGS = 65536;
