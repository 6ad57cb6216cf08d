/** Texts as errors and fields have them: UTF-8 with the reason of a fault, numbers, quoting. */

const DECODER = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * Say what is wrong with bytes that should be UTF-8.
 * @param {Uint8Array} bytes
 * @returns {string | null} null: they are
 */
export function utf8Fault(bytes) {
  for (let at = 0; at < bytes.length; ) {
    const first = bytes[at++];
    if (first < 0x80) continue;
    if (first < 0xc2 || first > 0xf4) return "invalid start byte";
    let left = first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
    // The second byte may not make a number that fewer bytes hold, a surrogate, or one too large.
    let low = first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80;
    let high = first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf;
    for (; left > 0; left--, at++, low = 0x80, high = 0xbf) {
      if (at === bytes.length) return "unexpected end of data";
      if (bytes[at] < low || bytes[at] > high) return "invalid continuation byte";
    }
  }
  return null;
}

/**
 * Decode bytes that `utf8Fault` finds nothing wrong with.
 * @param {Uint8Array} bytes
 */
export function utf8Text(bytes) {
  return DECODER.decode(bytes);
}

/**
 * Bytes in hexadecimal.
 * @param {Uint8Array} bytes
 * @param {string} between what to put between them
 */
export function hex(bytes, between = "") {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(between);
}

/**
 * A 32-bit number in eight capital hexadecimal digits.
 * @param {number} value
 */
export function hex32(value) {
  return value.toString(16).toUpperCase().padStart(8, "0");
}

const ESCAPES = new Map([
  ["\\", "\\\\"],
  ["\n", "\\n"],
  ["\r", "\\r"],
  ["\t", "\\t"],
]);

/**
 * Quote a text for an error, in ASCII alone.
 * @param {string} text
 */
export function quoted(text) {
  const mark = text.includes("'") && !text.includes('"') ? '"' : "'";
  let inside = "";
  for (const character of text) {
    const code = /** @type {number} */ (character.codePointAt(0));
    const digits = code.toString(16);
    if (character === mark) inside += `\\${mark}`;
    else if (ESCAPES.has(character)) inside += ESCAPES.get(character);
    else if (code >= 0x20 && code < 0x7f) inside += character;
    else if (code <= 0xff) inside += `\\x${digits.padStart(2, "0")}`;
    else if (code <= 0xffff) inside += `\\u${digits.padStart(4, "0")}`;
    else inside += `\\U${digits.padStart(8, "0")}`;
  }
  return mark + inside + mark;
}

/**
 * A number with a fraction, as the library prints it.
 * @param {number} value
 */
export function floatText(value) {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value < 0 ? "-inf" : "inf";
  if (Object.is(value, -0)) return "-0.0";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e16)) {
    return value.toExponential().replace(/e([+-])(\d)$/, "e$10$2");
  }
  return Number.isInteger(value) ? `${value}.0` : `${value}`;
}
