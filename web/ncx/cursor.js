/** Reading one structure, field by field, from the start of a source's buffer. */
import { crc32 } from "./crc32.js";
import { ChecksumMismatch, InvalidField, Truncated } from "./errors.js";
import { MAX_VARINT_BYTES } from "./fields.js";
import { floatText, hex, hex32, utf8Fault, utf8Text } from "./text.js";

/** @typedef {import("./fields.js").Field} Field */
/** @typedef {import("./source.js").Source} Source */

/**
 * Uses nothing up, so that a structure can be started again: whoever accepts it drops `at` bytes
 * from the source. Errors have file name, structure and offset.
 */
export class Cursor {
  /**
   * @param {Source} source
   * @param {string} label of the structure
   */
  constructor(source, label) {
    this.source = source;
    this.label = label;
    this.start = source.offset;
    this.at = 0;
    /** @type {number | null} end of an enclosing length, from the start on */
    this.end = null;
  }

  /**
   * Return an error.
   * @param {typeof import("./errors.js").FormatError} refusal
   * @param {string} text
   * @param {number} [at]
   */
  error(refusal, text, at = this.at) {
    return new refusal(`${this.source.name}: ${this.label} at byte ${this.start + at}: ${text}`);
  }

  /**
   * Raise Truncated unless the file holds so many bytes from the structure's start on.
   * @param {number} nBytes
   */
  require(nBytes) {
    if (!this.source.need(nBytes)) {
      throw this.error(Truncated, `needs ${nBytes} bytes, ${this.source.length} left`, 0);
    }
  }

  /**
   * Read a u8, u32 or varint whose values fit a number.
   * @param {Field} field
   * @returns {number}
   */
  number(field) {
    return Number(this.big(field));
  }

  /**
   * Read a u8, u32 or varint.
   * @param {Field} field
   * @returns {bigint}
   */
  big(field) {
    const at = this.at;
    let value;
    if (field.kind === "varint") {
      value = this.#varint(field);
    } else {
      const bytes = this.#take(field.kind === "u8" ? 1 : 4, field);
      value = bytes.reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
    }
    if (field.kind !== "u32") this.#check(field, value, at);
    return value;
  }

  /**
   * Read a bytes field; the bytes are the caller's own.
   * @param {Field} field
   * @param {number} nBytes
   */
  raw(field, nBytes) {
    return this.#take(nBytes, field).slice();
  }

  /**
   * Read a length and that many bytes.
   * @param {Field} field
   */
  blob(field) {
    return this.#counted(field).slice();
  }

  /**
   * Read a length and that many bytes of UTF-8.
   * @param {Field} field
   */
  text(field) {
    const at = this.at;
    const bytes = this.#counted(field);
    const fault = utf8Fault(bytes);
    if (fault) throw this.error(InvalidField, `${field.name} is not UTF-8: ${fault}`, at);
    return utf8Text(bytes);
  }

  /**
   * Read numbers, each finite and not negative.
   * @param {Field} field
   * @param {number} count
   */
  scales(field, count) {
    const at = this.at;
    const bytes = this.raw(field, 4 * count);
    const view = new DataView(bytes.buffer);
    const scales = Float32Array.from({ length: count }, (_, i) => view.getFloat32(4 * i, true));
    const odd = scales.findIndex((scale) => !(scale >= 0 && scale < Infinity));
    if (odd >= 0) {
      const found = `${field.name}[${odd}] is ${floatText(scales[odd])}`;
      throw this.error(InvalidField, `${found}, expected a finite number, 0 or more`, at);
    }
    return scales;
  }

  /**
   * Compare the CRC that follows the structure's first bytes with them.
   * @param {Field} field
   * @param {number} nBytes
   */
  verify(field, nBytes) {
    this.require(nBytes + 4);
    const bytes = this.source.view(0, nBytes + 4);
    const stored = new DataView(bytes.buffer, bytes.byteOffset).getUint32(nBytes, true);
    const computed = crc32(bytes.subarray(0, nBytes));
    if (stored !== computed) {
      const fault = `its ${nBytes} bytes have ${hex32(computed)}`;
      throw this.error(ChecksumMismatch, `${field.name} is ${hex32(stored)}, but ${fault}`, nBytes);
    }
  }

  /**
   * Read a tnirav that must hold a value.
   * @param {Field} field
   * @param {number} value
   */
  expect(field, value) {
    const at = this.at;
    const expected = [];
    for (let left = value; ; left = Math.floor(left / 128)) {
      expected.unshift(left > 127 ? (left % 128) | 0x80 : left);
      if (left < 128) break;
    }
    const found = hex(this.#take(expected.length, field), " ");
    const wanted = hex(Uint8Array.from(expected), " ");
    if (found !== wanted) {
      throw this.error(InvalidField, `${field.name} is ${found}, expected ${wanted}`, at);
    }
  }

  /**
   * @param {Field} field
   * @param {bigint} value
   * @param {number} at
   */
  #check(field, value, at) {
    const fault = field.fault(value);
    if (fault) throw this.error(field.refusal, fault, at);
  }

  /**
   * The next bytes, checked against the enclosing length and the file's end.
   * @param {number} nBytes
   * @param {Field} field
   */
  #take(nBytes, field) {
    const stop = this.at + nBytes;
    if (this.end !== null && stop > this.end) {
      const left = `${this.end - this.at} left in the ${this.label}`;
      throw this.error(InvalidField, `${field.name} needs ${nBytes} bytes, ${left}`);
    }
    if (!this.source.need(stop)) {
      const left = Math.max(0, this.source.length - this.at);
      throw this.error(Truncated, `${field.name} needs ${nBytes} bytes, ${left} left`);
    }
    const taken = this.source.view(this.at, stop);
    this.at = stop;
    return taken;
  }

  /** @param {Field} field */
  #varint(field) {
    const at = this.at;
    let value = 0n;
    for (let n = 0; n < MAX_VARINT_BYTES; n++) {
      const byte = this.#take(1, field)[0];
      value |= BigInt(byte & 0x7f) << BigInt(7 * n);
      if (byte >= 0x80) continue;
      if (byte === 0 && n > 0) {
        const fault = `${field.name} is a varint with a needless last byte`;
        throw this.error(InvalidField, fault, at);
      }
      return value;
    }
    const fault = `${field.name} is a varint of more than ${MAX_VARINT_BYTES} bytes`;
    throw this.error(InvalidField, fault, at);
  }

  /** @param {Field} field */
  #counted(field) {
    const at = this.at;
    const length = this.#varint(field);
    this.#check(field, length, at);
    return this.#take(Number(length), field);
  }
}
