/**
 * The packets of a file from some frame on: found by its index, or front to back.
 *
 * Frames are counted over all packets of the file.
 */
import { InvalidField } from "../ncx/errors.js";
import { readPacket } from "../ncx/ranges.js";
import { packetOffsets } from "../ncx/trailer.js";

/** @typedef {import("../ncx/packets.js").Packet} Packet */
/** @typedef {[bigint, Packet]} Placed a packet and its first frame */

/**
 * What a decoder asks of a file.
 * @typedef {object} Packets
 * @property {string} name for errors
 * @property {import("../ncx/header.js").Header} header
 * @property {import("../ncx/trailer.js").Trailer | null} trailer null until it was read
 * @property {bigint | null} nSamples of the source; null until it is known
 * @property {(frame: bigint) => AsyncGenerator<Placed, void, void>} from
 *     the packets from the one that holds a frame on, with those before it that it depends on
 */

/** @implements {Packets} Of a stream: what is not wanted is read, but not decoded. */
export class InOrder {
  #reader;

  /** @param {import("../ncx/reader.js").Reader} reader whose packets are all left */
  constructor(reader) {
    this.#reader = reader;
    this.name = reader.name;
    this.header = reader.header;
  }

  get trailer() {
    return this.#reader.trailer;
  }

  get nSamples() {
    return this.#reader.nSamples;
  }

  /**
   * @param {bigint} frame
   * @returns {AsyncGenerator<Placed, void, void>}
   */
  async *from(frame) {
    /** @type {Placed[]} */
    let chain = []; // back to a key packet
    let end = 0n;
    for await (const packet of this.#reader) {
      if (!packet.dependent) chain = [];
      chain.push([end, packet]);
      end += BigInt(packet.nFrames);
      if (end <= frame) continue;
      yield* chain;
      chain = [];
    }
  }
}

/** @implements {Packets} Of a file with an index: no more is read than is needed. */
export class Indexed {
  #file;
  /** @type {number[]} the first frame of each packet, and the end */
  #frames = [0];
  #offsets;

  /**
   * @param {import("../ncx/source.js").Ranges} file
   * @param {import("../ncx/header.js").Header} header
   * @param {import("../ncx/trailer.js").Trailer} trailer
   * @param {string} name
   */
  constructor(file, header, trailer, name) {
    this.#file = file;
    this.header = header;
    this.trailer = trailer;
    this.name = name;
    this.nSamples = header.nSamples ?? trailer.nSamples;
    this.#offsets = packetOffsets(trailer);
    let end = 0;
    for (const nFrames of trailer.packetFrames) this.#frames.push((end += nFrames));
  }

  /**
   * @param {bigint} frame
   * @returns {AsyncGenerator<Placed, void, void>}
   */
  async *from(frame) {
    const { nPackets } = this.trailer;
    let first = 0;
    for (let end = nPackets; end - first > 1; ) {
      const middle = (first + end) >> 1;
      if (BigInt(this.#frames[middle]) <= frame) first = middle;
      else end = middle;
    }
    if (first >= nPackets) return;
    const chain = [await this.#read(first)]; // back to a key packet
    while (chain[0][1].dependent) chain.unshift(await this.#read(first - chain.length));
    yield* chain;
    for (let number = first + 1; number < nPackets; number++) yield this.#read(number);
  }

  /**
   * @param {number} number
   * @returns {Promise<Placed>}
   */
  async #read(number) {
    const offset = this.#offsets[number];
    const nBytes = this.trailer.packetBytes[number];
    const nFrames = this.#frames[number + 1] - this.#frames[number];
    const packet = await readPacket(this.#file, this.header, number, offset, this.name, nBytes);
    if (packet.nBytes !== nBytes || packet.nFrames !== nFrames) {
      const place = `${this.name}: packet ${number} at byte ${offset}`;
      const listed = `is listed with ${nBytes} bytes and ${nFrames} frames`;
      throw new InvalidField(`${place}: ${listed}, but has ${packet.nBytes} and ${packet.nFrames}`);
    }
    return [BigInt(this.#frames[number]), packet];
  }
}
