/** Reading any packet of a file without those before it, from ranges of its bytes. */
import { Cursor } from "./cursor.js";
import { InvalidField, LostSync, Truncated } from "./errors.js";
import { MAX_VARINT_BYTES, TRAILER } from "./fields.js";
import { readHeaderAlone } from "./header.js";
import { parsePacket } from "./packets.js";
import { from } from "./source.js";
import { parseTrailer, samplesFault, sum } from "./trailer.js";

/** @typedef {import("./source.js").Ranges} Ranges */

const MOST_BYTES = 1 << 16; // that are read at once

/**
 * Return the header, without attachments, and the trailer of a file, found from the file's end.
 *
 * Raises LostSync if the file ends in no trailer: then only a Reader gets at its packets. Packets
 * are not looked at, but for the only one of a file without an index.
 * @param {Ranges} file
 * @param {string} [name] for errors
 */
export async function readIndex(file, name = "<stream>") {
  const header = await readHeaderAlone(from(file, name, 0));
  const { headerBytes } = header;
  const start = await trailerStart(file, name);
  if (start < headerBytes) throw lost(file, name, "it would overlap the header");
  const source = from(file, name, start, Math.min(file.size - start, MOST_BYTES));
  const trailer = await source.parse(() =>
    parseTrailer(new Cursor(source, "trailer"), headerBytes, null),
  );
  let fault = samplesFault(trailer, header);
  if (start + trailer.nBytes !== file.size) {
    fault = `ends at byte ${start + trailer.nBytes}, but the file at ${file.size}`;
  }
  if (trailer.nPackets === 1 && !fault) {
    const only = await readPacket(file, header, 0, headerBytes, name);
    trailer.packetBytes = [only.nBytes];
    trailer.packetFrames = [only.nFrames];
  }
  const listed = sum(trailer.packetBytes);
  if (!fault && listed !== start - headerBytes) {
    fault = `lists ${listed} bytes of packets, but ${start - headerBytes} come before it`;
  }
  if (fault) throw new Cursor(source, "trailer").error(InvalidField, fault, 0);
  return { header, trailer };
}

/**
 * Return the packet of a number, which starts at a place: see `packetOffsets`.
 * @param {Ranges} file
 * @param {import("./header.js").Header} header
 * @param {number} number
 * @param {number} offset bytes
 * @param {string} [name] for errors
 * @param {number} [nBytes] of the packet, where an index tells: no more is read then
 */
export async function readPacket(
  file, header, number, offset, name = "<stream>", nBytes = MOST_BYTES,
) {
  const source = from(file, name, offset, Math.min(nBytes, MOST_BYTES));
  return source.parse(() => {
    const cursor = new Cursor(source, `packet ${number}`);
    const packet = parsePacket(cursor, header.nStreams);
    if (packet.number !== number) {
      const fault = `number is ${packet.number}, expected ${number}`;
      throw cursor.error(InvalidField, fault, 0);
    }
    return packet;
  });
}

/**
 * Read trailer_length backwards from the file's end; return where the trailer starts.
 * @param {Ranges} file
 * @param {string} name
 */
async function trailerStart(file, name) {
  const nTail = Math.min(MAX_VARINT_BYTES, file.size);
  const tail = await file.read(file.size - nTail, file.size);
  if (tail.length < nTail) throw lost(file, name, "the file became shorter", Truncated);
  let length = 0n;
  for (let index = 0; index < nTail; index++) {
    const byte = tail[nTail - 1 - index];
    length |= BigInt(byte & 0x7f) << BigInt(7 * index);
    if (byte < 0x80) {
      if (length < TRAILER.length.low || length + BigInt(index) + 1n > file.size) {
        throw lost(file, name, `a length of ${length} bytes is not possible`);
      }
      return file.size - Number(length) - index - 1;
    }
  }
  throw lost(file, name, "its length never ends");
}

/**
 * @param {Ranges} file
 * @param {string} name
 * @param {string} text
 */
function lost(file, name, text, refusal = /** @type {any} */ (LostSync)) {
  return new refusal(`${name}: no trailer ends at byte ${file.size}: ${text}`);
}
