/** The header of an .ncx file (NCX.md, section 2). */
import { parseAttachedBytes, picturesOf, placed, readAttachments } from "./attachments.js";
import { Cursor } from "./cursor.js";
import { parseEdits, totalSamples } from "./edits.js";
import { InvalidField } from "./errors.js";
import { HEADER } from "./fields.js";
import { readSignature } from "./signature.js";
import { ATTACHED, CHANNEL_COPIES, checkExtensions, checkTags, EDIT_LIST } from "./tags.js";
import { parseExtensions, parseTags } from "./tags.js";
import { quoted } from "./text.js";

export const ARCHITECTURES = new Map([
  [1, "spectral"],
  [2, "soundstream"],
  [3, "encodec"],
  [4, "hilcodec"],
]);
export const PACKED = 0;
export const ADAPTIVE = 1;
export const TRANSFORMER = 2;
export const MIXED = 3;
export const CODERS = new Map([
  [PACKED, "packed"],
  [ADAPTIVE, "adaptive"],
  [TRANSFORMER, "transformer"],
  [MIXED, "mixed"],
]);

const ID = /^[A-Za-z0-9._-]*$/;

/** What a file says about all its packets. */
export class Header {
  architecture = 0;
  modelId = "";
  modelFingerprint = new Uint8Array(0); // 4 bytes
  entropy = PACKED;
  entropyModelId = "";
  entropyFingerprint = new Uint8Array(0); // 4 bytes for the transformer
  sampleRateHz = 0; // of the decoded audio
  nChannels = 0; // that are coded
  nStreams = 0;
  codebookSize = 0;
  nCodebooks = 0; // per stream
  samplesPerFrame = 0; // per channel
  bitrateBps = 0; // nominal, all streams; 0: unspecified
  sourceSampleRateHz = 0;
  /** @type {bigint | null} of the source, per channel at its rate; null: unknown */
  nSamples = null;
  /** @type {import("./tags.js").Tag[]} */
  tags = [];
  /** @type {import("./tags.js").Extension[]} */
  extensions = [];
  /** @type {import("./attachments.js").Attachment[]} but for tags */
  attachments = [];
  headerBytes = 0; // with attachments: where packet 0 starts

  /** What the file was put together from; none: its packets are one whole. */
  get edits() {
    const content = this.extension(EDIT_LIST);
    return content ? parseEdits(content) : [];
  }

  /** How many equal channels the only one stands for; 1 where nothing says so. */
  get nCopies() {
    const content = this.extension(CHANNEL_COPIES);
    if (content?.length !== 1 || this.nChannels !== 1) return 1;
    return content[0] >= 2 && content[0] <= Number(HEADER.nChannels.high) ? content[0] : 1;
  }

  /** Channels of the decoded audio, copies included. */
  get nOutputChannels() {
    return this.nChannels * this.nCopies;
  }

  /** The pictures that are attached. */
  get pictures() {
    return picturesOf(this.attachments);
  }

  /** Frames per second. */
  get frameRateHz() {
    return this.sampleRateHz / this.samplesPerFrame;
  }

  /** Codes in one frame of all streams. */
  get codesPerFrame() {
    return this.nStreams * this.nCodebooks;
  }

  /** Length of the source in seconds, null if unknown. */
  get durationS() {
    return this.nSamples === null ? null : Number(this.nSamples) / this.sourceSampleRateHz;
  }

  /**
   * Return the values of the tags of a name, in either case, in their order.
   * @param {string} key
   */
  tag(key) {
    const wanted = key.toUpperCase();
    return this.tags.filter(([name]) => name.toUpperCase() === wanted).map(([, value]) => value);
  }

  /**
   * Return the content of an extension, undefined if there is none.
   * @param {number} number
   */
  extension(number) {
    return this.extensions.find(([id]) => id === number)?.[1];
  }
}

/**
 * Read the header at the start of a file, and what is attached: packet 0 comes next.
 * @param {import("./source.js").Source} source
 * @returns {Promise<Header>}
 */
export async function readHeader(source) {
  const header = await readHeaderAlone(source);
  const nBytes = attachedBytes(header);
  if (nBytes) {
    const { tags, attachments } = await readAttachments(source, nBytes);
    header.tags = [...header.tags, ...tags];
    header.attachments = attachments;
    header.extensions = header.extensions.slice(0, -1);
  }
  return header;
}

/**
 * Read the header alone; its attachments, if any, come next.
 * @param {import("./source.js").Source} source
 */
export function readHeaderAlone(source) {
  return source.parse(() => {
    const cursor = new Cursor(source, "header");
    const header = parse(cursor);
    source.drop(cursor.at);
    header.headerBytes = source.offset + attachedBytes(header);
    return header;
  });
}

/** @param {Header} header that was read alone */
function attachedBytes(header) {
  const content = header.extension(ATTACHED);
  return content ? parseAttachedBytes(content) : 0;
}

/** @param {Cursor} cursor */
function parse(cursor) {
  const header = new Header();
  readSignature(cursor);
  cursor.number(HEADER.version);
  const length = cursor.number(HEADER.headerLength);
  cursor.end = cursor.at + length;
  cursor.verify(HEADER.headerCrc, cursor.end);
  header.architecture = cursor.number(HEADER.architecture);
  header.modelId = parseModelId(cursor, ARCHITECTURES.get(header.architecture));
  header.modelFingerprint = cursor.raw(HEADER.modelFingerprint, 4);
  header.entropy = cursor.number(HEADER.entropy);
  if (header.entropy === TRANSFORMER) parseEntropyModel(cursor, header);
  header.sampleRateHz = cursor.number(HEADER.sampleRateHz);
  header.nChannels = cursor.number(HEADER.nChannels);
  header.nStreams = cursor.number(HEADER.nStreams);
  header.codebookSize = cursor.number(HEADER.codebookSize);
  header.nCodebooks = cursor.number(HEADER.nCodebooks);
  header.samplesPerFrame = cursor.number(HEADER.samplesPerFrame);
  header.bitrateBps = cursor.number(HEADER.bitrateBps);
  const sourceRate = cursor.number(HEADER.sourceSampleRateHz);
  if (sourceRate === header.sampleRateHz) {
    throw cursor.error(InvalidField, "source_sample_rate_hz must be 0 for the same rate");
  }
  header.sourceSampleRateHz = sourceRate || header.sampleRateHz;
  const nSamples = cursor.big(HEADER.nSamples);
  header.nSamples = nSamples ? nSamples - 1n : null;
  header.tags = parseTags(cursor, cursor.end);
  header.extensions = parseExtensions(cursor, cursor.end);
  cursor.end = null;
  cursor.number(HEADER.headerCrc);
  placed(cursor, () => check(header));
  return header;
}

/**
 * Read the id, or take the usual one of the architecture for none.
 * @param {Cursor} cursor
 * @param {string | undefined} usual
 */
function parseModelId(cursor, usual) {
  const modelId = cursor.text(HEADER.modelId);
  if (modelId && modelId === usual) {
    throw cursor.error(InvalidField, "model_id must be empty for the architecture's name");
  }
  if (!modelId && !usual) {
    throw cursor.error(InvalidField, "model_id is empty for an architecture without a name");
  }
  return modelId || usual || "";
}

/**
 * @param {Cursor} cursor
 * @param {Header} header
 */
function parseEntropyModel(cursor, header) {
  const id = cursor.text(HEADER.entropyModelId);
  if (id === header.modelId) {
    throw cursor.error(InvalidField, "entropy_model_id must be empty for the same id");
  }
  header.entropyModelId = id || header.modelId;
  header.entropyFingerprint = cursor.raw(HEADER.entropyFingerprint, 4);
}

/**
 * Raise the FormatError of what no field alone tells.
 * @param {Header} header
 */
function check(header) {
  const ids = { model_id: header.modelId, entropy_model_id: header.entropyModelId };
  for (const [name, id] of Object.entries(ids)) {
    if (!ID.test(id)) {
      throw new InvalidField(`${name} is ${quoted(id)}, expected only A-Z a-z 0-9 . _ -`);
    }
  }
  checkTags(header.tags);
  checkExtensions(header.extensions);
  attachedBytes(header);
  const { edits } = header;
  const total = totalSamples(edits);
  if (edits.length && header.nSamples !== total) {
    const found = header.nSamples === null ? "None" : header.nSamples;
    throw new InvalidField(`edit list: ${total} samples in all, but n_samples is ${found}`);
  }
  if (header.nChannels % header.nStreams) {
    const fault = `${header.nChannels} channels cannot be shared by ${header.nStreams} streams`;
    throw new InvalidField(`n_streams: ${fault}`);
  }
}
