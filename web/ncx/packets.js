/** Packets, of some seconds of codes each (NCX.md, section 4). */
import { InvalidField, LimitExceeded, LostSync } from "./errors.js";
import { MAX_SCALES_PER_STREAM, PACKET, SYNC_WORD } from "./fields.js";
import { hex } from "./text.js";

const DEPENDENT = 1;
const SCALES = 2;

/**
 * Some frames of every code stream, as the entropy coder wrote them.
 * @typedef {object} Packet
 * @property {number} number 0, 1, 2, ...
 * @property {number} nFrames
 * @property {Uint8Array} payload
 * @property {boolean} dependent continues the entropy model's context of the packet before it
 * @property {Float32Array} scales the codec's normalisation factors, stream after stream
 * @property {number} offset in the file, bytes
 * @property {number} nBytes in the file, sync word to CRC
 */

/**
 * Read a packet; a file of `nStreams` bounds its number of scales.
 * @param {import("./cursor.js").Cursor} cursor
 * @param {number} nStreams
 * @returns {Packet}
 */
export function parsePacket(cursor, nStreams) {
  const sync = cursor.raw(PACKET.sync, SYNC_WORD.length);
  if (sync.some((byte, i) => byte !== SYNC_WORD[i])) {
    const fault = `no packet or trailer starts here: found ${hex(sync, " ")}`;
    throw cursor.error(LostSync, fault, 0);
  }
  const number = cursor.number(PACKET.number);
  const framesFlags = cursor.number(PACKET.framesFlags);
  const payloadBytes = cursor.number(PACKET.payloadLength);
  const nScales = framesFlags & SCALES ? parseScaleCount(cursor, nStreams) : 0;
  const dependent = Boolean(framesFlags & DEPENDENT);
  const nBytes = cursor.at + 4 * nScales + payloadBytes + 4;
  cursor.require(nBytes);
  cursor.verify(PACKET.crc, nBytes - 4);
  if (dependent && number === 0) {
    throw cursor.error(InvalidField, "packet 0 cannot be dependent", 0);
  }
  const scales = cursor.scales(PACKET.scales, nScales);
  const payload = cursor.raw(PACKET.payload, payloadBytes);
  cursor.number(PACKET.crc);
  const nFrames = framesFlags >> 2;
  return { number, nFrames, payload, dependent, scales, offset: cursor.start, nBytes };
}

/**
 * @param {import("./cursor.js").Cursor} cursor
 * @param {number} nStreams
 */
function parseScaleCount(cursor, nStreams) {
  const { at } = cursor;
  const nScales = cursor.number(PACKET.scaleCount);
  const limit = nStreams * MAX_SCALES_PER_STREAM;
  if (nScales > limit) {
    const fault = `scale_count is ${nScales}, at most ${limit} for ${nStreams} streams`;
    throw cursor.error(LimitExceeded, fault, at);
  }
  return nScales;
}
