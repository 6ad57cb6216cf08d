/** Numbers inside the content of an extension (NCX.md, section 3). */
import { InvalidField } from "./errors.js";
import { MAX_VARINT_BYTES, VARINT_LIMIT } from "./fields.js";

/**
 * Return the number at a place, and where it ends. Raises InvalidField.
 * @param {Uint8Array} content
 * @param {number} at
 * @param {string} what it is of, for errors
 * @returns {[bigint, number]}
 */
export function unpackVarint(content, at, what) {
  let value = 0n;
  for (let n = 0; n < MAX_VARINT_BYTES; n++) {
    if (at === content.length) throw new InvalidField(`${what}: the last number is cut off`);
    const byte = content[at++];
    value |= BigInt(byte & 0x7f) << BigInt(7 * n);
    if (byte >= 0x80) continue;
    if (n > 0 && byte === 0) throw new InvalidField(`${what}: a number is longer than it need be`);
    return [value, at];
  }
  throw new InvalidField(`${what}: a number of ${VARINT_LIMIT} or more`);
}
