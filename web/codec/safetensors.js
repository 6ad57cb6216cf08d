/** .safetensors files; https://huggingface.co/docs/safetensors has the format. */
import { ModelInvalid } from "../ncx/errors.js";
import { sha256 } from "../ncx/sha256.js";
import { utf8Fault, utf8Text } from "../ncx/text.js";

const HEADER_LIMIT = 1 << 20;
const FINGERPRINT_BYTES = 4;
const METADATA = "__metadata__";
export const CODEC = "ncodec";
export const ENTROPY = "ncodec-entropy";
const COMPACT = "ncodec-compact"; // a codec's decoder, in fewer bits
const KINDS = [CODEC, ENTROPY, COMPACT];
const ROW_SCALE = ".row_scale"; // follows the name of a tensor of 8 bits
const DIGEST = /^[0-9a-f]{64}$/;
const ITEM_BYTES = new Map([["F32", 4], ["F16", 2], ["BF16", 2], ["I8", 1], ["I32", 4]]);

/** An array of numbers: its type, its shape and its bytes, which are little-endian. */
export class Tensor {
  /**
   * @param {string} type
   * @param {number[]} shape
   * @param {Uint8Array} bytes
   */
  constructor(type, shape, bytes) {
    this.type = type;
    this.shape = shape;
    this.bytes = bytes;
  }

  /** Bytes of one number. */
  get itemBytes() {
    return /** @type {number} */ (ITEM_BYTES.get(this.type));
  }

  /**
   * Return a tensor of floats that were computed.
   * @param {Float32Array} values
   * @param {number[]} shape
   */
  static of(values, shape) {
    return new Tensor("F32", shape, new Uint8Array(values.buffer));
  }

  /**
   * The numbers, of a type of floats.
   * @returns {Float32Array}
   */
  floats() {
    const { buffer } = this.bytes.slice();
    if (this.type === "F32") return new Float32Array(buffer);
    const halves = new Uint16Array(buffer);
    const bits = new Uint32Array(halves.length);
    const floats = new Float32Array(bits.buffer);
    for (let i = 0; i < halves.length; i++) {
      const half = halves[i];
      const signed = ((half & 0x8000) << 16) | ((half & 0x7fff) << 13);
      bits[i] = this.type === "BF16" ? half << 16 : signed;
    }
    if (this.type === "F16") {
      // The exponents' zeros lie 2^112 apart; what was infinite or no number is too large then.
      for (let i = 0; i < floats.length; i++) floats[i] *= 2 ** 112;
    }
    return floats;
  }

  /**
   * The whole numbers, of a type of those.
   * @returns {Int8Array | Int32Array}
   */
  integers() {
    const { buffer } = this.bytes.slice();
    return this.type === "I8" ? new Int8Array(buffer) : new Int32Array(buffer);
  }

  /**
   * Return this tensor of whole numbers with its rows, along the last axis, multiplied.
   * @param {Float32Array} scales of the rows
   */
  scaled(scales) {
    const whole = this.integers();
    const length = whole.length / scales.length;
    const values = Float32Array.from(whole, (value, i) => value * scales[Math.floor(i / length)]);
    return Tensor.of(values, this.shape);
  }
}

/** A model file in memory: what it says of itself, and its tensors. */
export class ModelFile {
  /**
   * @param {string} name for errors
   * @param {string} kind "ncodec" of a codec, "ncodec-entropy" of an entropy model
   * @param {Record<string, any>} about what it says of itself
   * @param {Map<string, Tensor>} tensors
   * @param {string} fingerprint first 4 bytes of its SHA-256, or of that of the file which it is a
   *     compact form of, in hexadecimal
   */
  constructor(name, kind, about, tensors, fingerprint) {
    this.name = name;
    this.kind = kind;
    this.modelId = about.model_id;
    this.config = about.config;
    this.about = about;
    this.tensors = tensors;
    this.fingerprint = fingerprint;
  }

  /**
   * Read a model file. Raises ModelInvalid.
   * @param {Uint8Array} file all of it
   * @param {string} name for errors
   */
  static async read(file, name) {
    // Node's Buffer has another `slice`.
    const bytes = new Uint8Array(file.buffer, file.byteOffset, file.length);
    const { header, end } = parseHeader(bytes, name);
    const kind = KINDS.find((key) => typeof header[METADATA]?.[key] === "string");
    const about = kind ? parseJson(header[METADATA][kind]) : null;
    const named = typeof about?.model_id === "string";
    if (!kind || !named || typeof about.config !== "object" || !about.config) {
      throw new ModelInvalid(`${name}: not a model file of ncodec`);
    }
    delete header[METADATA];
    const tensors = parseTensors(bytes, header, end, name);
    if (kind !== COMPACT) {
      return new ModelFile(name, kind, about, tensors, await fingerprintOf(bytes));
    }
    const original = about.compact_of;
    if (typeof original !== "string" || !DIGEST.test(original)) {
      throw new ModelInvalid(`${name}: compact_of is ${original}, expected a SHA-256`);
    }
    return new ModelFile(name, CODEC, about, tensors, original.slice(0, 2 * FINGERPRINT_BYTES));
  }

  /**
   * Whether a header's fingerprint names these weights, or others that they stand for.
   * @param {string} fingerprint in hexadecimal
   */
  decodes(fingerprint) {
    const older = this.about.facts?.stands_for;
    if (fingerprint === this.fingerprint) return true;
    return Array.isArray(older) && older.includes(fingerprint);
  }

  /**
   * Return a size of the config. Raises ModelInvalid unless it is whole and in its range.
   * @param {string} key
   * @param {number} low
   * @param {number} high
   */
  size(key, low, high) {
    const value = this.config[key];
    if (Number.isInteger(value) && value >= low && value <= high) return value;
    throw new ModelInvalid(`${this.name}: ${key} is ${value}, expected ${low} to ${high}`);
  }

  /**
   * Return a tensor, in single precision where the file has 8 bits of it. Raises ModelInvalid
   * where there is none of that shape and of those types.
   * @param {string} name
   * @param {number[]} shape
   * @param {string[]} types
   */
  tensor(name, shape, types) {
    const tensor = this.tensors.get(name);
    if (!tensor) throw new ModelInvalid(`${this.name}: tensor ${name}: unknown or missing`);
    const isScaled = this.about.compact_of && tensor.type === "I8" && types.includes("F32");
    if (isScaled) return this.tensor(name, shape, ["I8"]).scaled(this.#rowScales(name, shape));
    if (`${tensor.shape}` !== `${shape}` || !types.includes(tensor.type)) {
      const found = `${tensor.type} [${tensor.shape}]`;
      throw new ModelInvalid(`${this.name}: tensor ${name}: ${found}, expected [${shape}]`);
    }
    if (tensor.type !== "BF16") return tensor;
    return Tensor.of(tensor.floats(), shape);
  }

  /**
   * @param {string} name of a tensor of 8 bits
   * @param {number[]} shape
   */
  #rowScales(name, shape) {
    return this.tensor(name + ROW_SCALE, shape.slice(0, -1), ["F32"]).floats();
  }
}

/** @param {Uint8Array} bytes */
async function fingerprintOf(bytes) {
  const subtle = globalThis.crypto?.subtle; // pages that are not served securely have none
  const digest = subtle
    ? new Uint8Array(await subtle.digest("SHA-256", /** @type {BufferSource} */ (bytes)))
    : sha256(bytes);
  const first = digest.subarray(0, FINGERPRINT_BYTES);
  return Array.from(first, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * @param {Uint8Array} bytes
 * @param {string} name
 */
function parseHeader(bytes, name) {
  if (bytes.length < 8) {
    throw new ModelInvalid(`${name}: not a .safetensors file: ${bytes.length} bytes`);
  }
  const size = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
  if (size > HEADER_LIMIT || size > bytes.length - 8) {
    throw new ModelInvalid(`${name}: header of ${size} bytes, the limit is ${HEADER_LIMIT}`);
  }
  const end = 8 + Number(size);
  const text = bytes.subarray(8, end);
  const header = utf8Fault(text) ? null : parseJson(utf8Text(text));
  if (typeof header === "object" && header) return { header, end };
  throw new ModelInvalid(`${name}: header is not JSON`);
}

/**
 * Return what JSON holds; null where it is none.
 * @param {string} text
 */
function parseJson(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/**
 * @param {Uint8Array} bytes
 * @param {Record<string, any>} header
 * @param {number} start of the tensors
 * @param {string} file
 */
function parseTensors(bytes, header, start, file) {
  /** @type {Map<string, Tensor>} */
  const tensors = new Map();
  const fail = (/** @type {string} */ fault) => {
    throw new ModelInvalid(`${file}: damaged model file: ${fault}`);
  };
  let end = start;
  const places = Object.entries(header).map(([name, entry]) => {
    const offsets = entry?.data_offsets;
    if (!Array.isArray(offsets) || !Array.isArray(entry.shape)) fail(`tensor ${name}`);
    return { name, entry, offsets };
  });
  for (const { name, entry, offsets } of places.sort((a, b) => a.offsets[0] - b.offsets[0])) {
    const itemBytes = ITEM_BYTES.get(entry.dtype);
    if (!itemBytes) fail(`tensor ${name}: type ${entry.dtype}`);
    if (!entry.shape.every((/** @type {any} */ n) => Number.isSafeInteger(n) && n >= 0)) {
      fail(`tensor ${name}: shape ${entry.shape}`);
    }
    const first = end;
    /** @type {number[]} */
    const shape = entry.shape;
    end += shape.reduce((count, n) => count * n, 1) * /** @type {number} */ (itemBytes);
    if (offsets[0] !== first - start || offsets[1] !== end - start) {
      fail(`tensor ${name}: does not follow the one before`);
    }
    if (end > bytes.length) fail(`tensor ${name}: ends at ${end} of ${bytes.length} bytes`);
    tensors.set(name, new Tensor(entry.dtype, entry.shape, bytes.subarray(first, end)));
  }
  if (end !== bytes.length) fail(`${bytes.length} bytes, its tensors end at ${end}`);
  return tensors;
}
