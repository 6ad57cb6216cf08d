/** Files at an address, read in ranges where the server has them, and what was read for a while. */
import { ranges } from "./source.js";

/** @typedef {import("./source.js").Ranges} Ranges */

const BLOCK_BYTES = 1 << 14; // that are asked for at least
const MOST_HELD = 4; // ranges that are kept: the header, the index, a packet and the next
const MOST_WHOLE_BYTES = 1 << 28; // of a file that only comes as a whole: it is held in memory

/**
 * Return a file at an address. Raises Error where it cannot be had.
 *
 * Only what is read is asked for; of a server that knows no ranges the file is taken whole.
 * @param {string} address
 * @param {string} name for errors
 * @returns {Promise<Ranges>}
 */
export async function openAddress(address, name) {
  const response = await ask(address, name, 0, BLOCK_BYTES);
  if (response.status === 416) return ranges(new Uint8Array(0)); // of no byte there is no range
  const size = sizeOf(response);
  if (size === null) return ranges(await whole(response, name));
  const first = new Uint8Array(await response.arrayBuffer());
  const read = async (/** @type {number} */ start, /** @type {number} */ end) => {
    if (end <= first.length) return first.subarray(start, end);
    const part = await ask(address, name, start, end);
    if (sizeOf(part) !== size) throw new Error(`${name}: changed while it was read`);
    return new Uint8Array(await part.arrayBuffer());
  };
  return { size, read };
}

/**
 * Return a file of which whole blocks are read, and the last of them kept: many small packets then
 * take few requests.
 * @param {Ranges} file
 * @returns {Ranges}
 */
export function inBlocks(file) {
  const { size } = file;
  /** @type {{start: number, end: number, bytes: Uint8Array}[]} */
  let held = [];
  const read = async (/** @type {number} */ start, /** @type {number} */ end) => {
    let block = held.find((one) => one.start <= start && one.end >= end);
    if (!block) {
      const from = Math.floor(start / BLOCK_BYTES) * BLOCK_BYTES;
      const to = Math.min(size, Math.ceil(end / BLOCK_BYTES) * BLOCK_BYTES);
      block = { start: from, end: to, bytes: await file.read(from, to) };
    }
    held = [block, ...held.filter((one) => one !== block)].slice(0, MOST_HELD);
    return block.bytes.subarray(start - block.start, end - block.start);
  };
  return { size, read };
}

/**
 * @param {string} address
 * @param {string} name
 * @param {number} start
 * @param {number} end
 */
async function ask(address, name, start, end) {
  let response;
  try {
    response = await fetch(address, { headers: { Range: `bytes=${start}-${end - 1}` } });
  } catch (error) {
    throw new Error(`${name}: cannot be read: ${/** @type {Error} */ (error).message}`);
  }
  if (response.ok || response.status === 416) return response;
  throw new Error(`${name}: cannot be read: ${response.status} ${response.statusText}`);
}

/**
 * Return how long the file is of which a response holds a part; null: it is the whole.
 * @param {Response} response
 */
function sizeOf(response) {
  if (response.status !== 206) return null;
  const [, size] = /^bytes \d+-\d+\/(\d+)$/.exec(response.headers.get("Content-Range") ?? "") ?? [];
  if (size === undefined) throw new Error(`${response.url}: its server does not say how long it is`);
  return Number(size);
}

/**
 * Return all bytes of a response. Raises Error for more than are held.
 * @param {Response} response
 * @param {string} name
 */
async function whole(response, name) {
  const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader();
  /** @type {Uint8Array[]} */
  const parts = [];
  for (let n = 0; ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    n += value.length;
    if (n > MOST_WHOLE_BYTES) {
      await reader.cancel();
      const fault = `more than ${MOST_WHOLE_BYTES} bytes, from a server without ranges`;
      throw new Error(`${name}: ${fault}`);
    }
  }
  return new Uint8Array(await new Blob(/** @type {BlobPart[]} */ (parts)).arrayBuffer());
}
