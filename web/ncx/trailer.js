/** The trailer: index, counts and a digest of the codes (NCX.md, section 5). */
import { InvalidField, LostSync } from "./errors.js";
import { MIN_PACKET_BYTES, TRAILER, TRAILER_MARKER } from "./fields.js";
import { hex } from "./text.js";

/** @typedef {import("./cursor.js").Cursor} Cursor */

const UNIFORM = 1;
const SAMPLES = 2;
const RESERVED = 4;

/**
 * What a file says about itself at its end.
 * @typedef {object} Trailer
 * @property {number} nPackets
 * @property {number[]} packetBytes of every packet
 * @property {number[]} packetFrames of every packet
 * @property {Uint8Array} codesDigest 4 bytes
 * @property {bigint | null} nSamples of the source; null where only the header has it
 * @property {number} offset in the file, bytes
 * @property {number} nBytes in the file, marker to its end
 */

/**
 * Read a trailer.
 * @param {Cursor} cursor
 * @param {number} headerBytes with attachments
 * @param {{nBytes: number, nFrames: number} | null} only the only packet, which has no index
 * @returns {Trailer}
 */
export function parseTrailer(cursor, headerBytes, only) {
  const marker = cursor.raw(TRAILER.marker, TRAILER_MARKER.length);
  if (marker.some((byte, i) => byte !== TRAILER_MARKER[i])) {
    throw cursor.error(LostSync, `no trailer starts here: found ${hex(marker, " ")}`, 0);
  }
  const { nPackets, flags } = parseCountFlags(cursor, headerBytes);
  const nSamples = flags & SAMPLES ? cursor.big(TRAILER.totalSamples) : null;
  /** @type {number[]} */
  let packetBytes = [];
  /** @type {number[]} */
  let packetFrames = [];
  if (nPackets > 1) {
    ({ packetBytes, packetFrames } = parseIndex(cursor, nPackets, Boolean(flags & UNIFORM)));
  } else if (flags & UNIFORM) {
    throw cursor.error(InvalidField, "count_flags has bit 0 set without an index");
  } else if (nPackets === 1 && only) {
    packetBytes = [only.nBytes];
    packetFrames = [only.nFrames];
  }
  const codesDigest = cursor.raw(TRAILER.codesDigest, 4);
  cursor.verify(TRAILER.crc, cursor.at);
  cursor.number(TRAILER.crc);
  cursor.expect(TRAILER.length, cursor.at);
  const place = { offset: cursor.start, nBytes: cursor.at };
  return { nPackets, packetBytes, packetFrames, codesDigest, nSamples, ...place };
}

/**
 * Return where each packet starts in the file, bytes.
 * @param {Trailer} trailer
 */
export function packetOffsets(trailer) {
  let at = trailer.offset - sum(trailer.packetBytes);
  return trailer.packetBytes.map((nBytes) => {
    at += nBytes;
    return at - nBytes;
  });
}

/** @param {number[]} numbers */
export function sum(numbers) {
  return numbers.reduce((total, number) => total + number, 0);
}

/**
 * Say how the trailer's number of samples disagrees with the header's, or null.
 * @param {Trailer} trailer
 * @param {import("./header.js").Header} header
 */
export function samplesFault(trailer, header) {
  if (trailer.nSamples === null) {
    return header.nSamples === null
      ? "total_samples is missing, and the header does not know it either"
      : null;
  }
  return header.nSamples === null || header.nSamples === trailer.nSamples
    ? null
    : `total_samples is ${trailer.nSamples}, but the header says ${header.nSamples}`;
}

/**
 * Read a trailer's number of packets, which must fit before it, and its flags.
 * @param {Cursor} cursor
 * @param {number} headerBytes
 */
function parseCountFlags(cursor, headerBytes) {
  const { at } = cursor;
  const countFlags = cursor.number(TRAILER.countFlags);
  const nPackets = countFlags >> 3;
  if (countFlags & RESERVED) {
    throw cursor.error(InvalidField, "count_flags has bit 2 set, which is reserved", at);
  }
  const room = cursor.start - headerBytes;
  if (nPackets * MIN_PACKET_BYTES > room) {
    throw cursor.error(InvalidField, `${nPackets} packets cannot fit in ${room} bytes`, at);
  }
  return { nPackets, flags: countFlags & 7 };
}

/**
 * @param {Cursor} cursor
 * @param {number} nPackets
 * @param {boolean} uniform
 */
function parseIndex(cursor, nPackets, uniform) {
  const { at } = cursor;
  /** @type {number[]} */
  const packetBytes = [];
  /** @type {number[]} */
  const packetFrames = [];
  if (uniform) {
    const first = cursor.number(TRAILER.firstFrames);
    const last = cursor.number(TRAILER.lastFrames);
    for (let i = 1; i < nPackets; i++) packetFrames.push(first);
    packetFrames.push(last);
  }
  for (let i = 0; i < nPackets; i++) {
    packetBytes.push(cursor.number(TRAILER.packetBytes));
    if (!uniform) packetFrames.push(cursor.number(TRAILER.packetFrames));
  }
  const [first] = packetFrames;
  const allEqual = packetFrames.slice(0, -1).every((nFrames) => nFrames === first);
  if (allEqual !== uniform) {
    throw cursor.error(InvalidField, "the packets are uniform, but bit 0 is clear", at);
  }
  return { packetBytes, packetFrames };
}
