/** Tags and extensions, the optional end of the header (NCX.md, section 3). */
import { InvalidField, UnsupportedVersion } from "./errors.js";
import { HEADER } from "./fields.js";
import { quoted } from "./text.js";

/** @typedef {import("./cursor.js").Cursor} Cursor */
/** @typedef {[key: string, value: string]} Tag */
/** @typedef {[number: number, content: Uint8Array]} Extension */

export const CHANNEL_COPIES = 0x02;
export const REQUIRED_CODEC_PARAMETERS = 0x81;
export const EDIT_LIST = 0x82;
export const ATTACHED = 0x83;
const KNOWN_CRITICAL = [REQUIRED_CODEC_PARAMETERS, EDIT_LIST, ATTACHED];
const CRITICAL_BIT = 0x80;
const KEY = /^[ -<>-}]+$/; // 0x20..0x7D without "="

/**
 * Read the tags of a header body.
 * @param {Cursor} cursor
 * @param {number} end of the body
 * @returns {Tag[]}
 */
export function parseTags(cursor, end) {
  if (cursor.at === end) return [];
  const count = cursor.number(HEADER.tagCount);
  if (count === 0 && cursor.at === end) {
    throw cursor.error(InvalidField, "a tag_count of 0 must be left out at the body's end");
  }
  return Array.from({ length: count }, () => readTag(cursor, HEADER.tag));
}

/**
 * Read a key and its value. Raises InvalidField.
 * @param {Cursor} cursor
 * @param {import("./fields.js").Field} field
 * @returns {Tag}
 */
export function readTag(cursor, field) {
  const { at } = cursor;
  const text = cursor.text(field);
  const equals = text.indexOf("=");
  if (equals < 0) throw cursor.error(InvalidField, "tag has no '='", at);
  return [text.slice(0, equals), text.slice(equals + 1)];
}

/**
 * Read the extensions of a header body.
 * @param {Cursor} cursor
 * @param {number} end of the body
 * @returns {Extension[]}
 */
export function parseExtensions(cursor, end) {
  /** @type {Extension[]} */
  const extensions = [];
  while (cursor.at < end) {
    const number = cursor.number(HEADER.extensionId);
    extensions.push([number, cursor.blob(HEADER.extension)]);
  }
  return extensions;
}

/**
 * Raise InvalidField for a key that is not allowed.
 * @param {Tag[]} tags
 */
export function checkTags(tags) {
  for (const [key] of tags) {
    if (!KEY.test(key)) {
      const expected = "at least one character of 0x20 to 0x7D, without '='";
      throw new InvalidField(`tag: the key is ${quoted(key)}, expected ${expected}`);
    }
  }
}

/**
 * Raise InvalidField for an id that occurs twice, UnsupportedVersion for a critical one.
 * @param {Extension[]} extensions
 */
export function checkExtensions(extensions) {
  const numbers = new Set();
  for (const [number] of extensions) {
    const name = `extension_id 0x${number.toString(16).toUpperCase().padStart(2, "0")}`;
    if (numbers.has(number)) throw new InvalidField(`${name} occurs twice`);
    numbers.add(number);
    if (number & CRITICAL_BIT && !KNOWN_CRITICAL.includes(number)) {
      const fault = "is critical and unknown: the file needs a newer version of ncodec";
      throw new UnsupportedVersion(`${name} ${fault}`);
    }
  }
  if (numbers.has(ATTACHED) && extensions[extensions.length - 1][0] !== ATTACHED) {
    throw new InvalidField("extension_id 0x83 is not the last");
  }
}
