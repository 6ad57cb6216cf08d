/** CRC-32 as in zlib and PNG (NCX.md, section 1), four bytes at a time. */

const TABLES = makeTables();

function makeTables() {
  const tables = Array.from({ length: 4 }, () => new Uint32Array(256));
  for (let byte = 0; byte < 256; byte++) {
    let value = byte;
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
    tables[0][byte] = value;
  }
  for (let k = 1; k < 4; k++) {
    for (let byte = 0; byte < 256; byte++) {
      const before = tables[k - 1][byte];
      tables[k][byte] = (before >>> 8) ^ tables[0][before & 0xff];
    }
  }
  return tables;
}

/**
 * Return the CRC of bytes, 0 to 2^32 - 1.
 * @param {Uint8Array} bytes
 */
export function crc32(bytes) {
  const [first, second, third, fourth] = TABLES;
  let value = 0xffffffff;
  let at = 0;
  for (; at + 4 <= bytes.length; at += 4) {
    value ^= bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24);
    value =
      fourth[value & 0xff] ^
      third[(value >>> 8) & 0xff] ^
      second[(value >>> 16) & 0xff] ^
      first[value >>> 24];
  }
  for (; at < bytes.length; at++) value = (value >>> 8) ^ first[(value ^ bytes[at]) & 0xff];
  return (value ^ 0xffffffff) >>> 0;
}
