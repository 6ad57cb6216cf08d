/** Reading .ncx files front to back, also from streams. */
import { Cursor } from "./cursor.js";
import { InvalidField, Truncated } from "./errors.js";
import { TRAILER_MARKER } from "./fields.js";
import { readHeader } from "./header.js";
import { parsePacket } from "./packets.js";
import { open } from "./source.js";
import { parseTrailer, samplesFault } from "./trailer.js";

/** @typedef {import("./packets.js").Packet} Packet */
/** @typedef {import("./trailer.js").Trailer} Trailer */

/**
 * Yields the packets of a file in order; after the last, `trailer` is set.
 *
 * Damage raises the FormatError that names it, with file name and offset, after the packets before.
 */
export class Reader {
  #source;
  #expected = 0; // number of the next packet
  /** @type {{nBytes: number, nFrames: number}[]} */
  #sizes = []; // of the packets so far
  #ended = false;

  /**
   * @param {import("./source.js").Source} source
   * @param {import("./header.js").Header} header that was read from it
   */
  constructor(source, header) {
    this.#source = source;
    this.header = header;
    /** @type {Trailer | null} */
    this.trailer = null;
  }

  /**
   * Read the header of a file.
   * @param {import("./source.js").Input} input
   * @param {string} [name] for errors
   */
  static async open(input, name = "<stream>") {
    const source = open(input, name);
    return new Reader(source, await readHeader(source));
  }

  /** The file's name, for errors. */
  get name() {
    return this.#source.name;
  }

  /** Samples of the source per channel; null until the trailer of a live stream is read. */
  get nSamples() {
    return this.header.nSamples ?? this.trailer?.nSamples ?? null;
  }

  /** @returns {AsyncGenerator<Packet, void, void>} the packets that are left */
  async *[Symbol.asyncIterator]() {
    while (!this.#ended) {
      this.#ended = true; // also if this fails
      const packet = await this.#source.parse(() => this.#readNext());
      if (!packet) break;
      this.#ended = false;
      yield packet;
    }
  }

  /** Read a packet, or the trailer and the end. */
  #readNext() {
    const source = this.#source;
    if (this.trailer) return this.#refuseRest();
    const cursor = new Cursor(source, `packet ${this.#expected}`);
    if (!source.need(1)) {
      throw cursor.error(Truncated, "the file ends here, without a trailer");
    }
    source.need(TRAILER_MARKER.length);
    if (source.length > 1 && TRAILER_MARKER.every((byte, i) => byte === source.byte(i))) {
      cursor.label = "trailer";
      const only = this.#sizes.length === 1 ? this.#sizes[0] : null;
      const trailer = parseTrailer(cursor, this.header.headerBytes, only);
      const fault = this.#indexFault(trailer) ?? samplesFault(trailer, this.header);
      if (fault) throw cursor.error(InvalidField, fault, 0);
      this.trailer = trailer;
      source.drop(trailer.nBytes);
      return this.#refuseRest();
    }
    const packet = parsePacket(cursor, this.header.nStreams);
    if (packet.number !== this.#expected) {
      const fault = `number is ${packet.number}, expected ${this.#expected}`;
      throw cursor.error(InvalidField, fault, 0);
    }
    source.drop(packet.nBytes);
    this.#expected++;
    this.#sizes.push({ nBytes: packet.nBytes, nFrames: packet.nFrames });
    return packet;
  }

  /**
   * Say how the trailer disagrees with the packets, or null.
   * @param {Trailer} trailer
   */
  #indexFault(trailer) {
    if (trailer.nPackets !== this.#expected) {
      return `counts ${trailer.nPackets} packets, but ${this.#expected} come before it`;
    }
    for (const [number, read] of this.#sizes.entries()) {
      const listed = [trailer.packetBytes[number], trailer.packetFrames[number]];
      if (listed[0] !== read.nBytes || listed[1] !== read.nFrames) {
        const found = `is listed with ${listed[0]} bytes and ${listed[1]} frames`;
        return `packet ${number} ${found}, but has ${read.nBytes} and ${read.nFrames}`;
      }
    }
    return null;
  }

  /**
   * Raise InvalidField for bytes after the trailer.
   * @returns {null}
   */
  #refuseRest() {
    if (!this.#source.need(1)) return null;
    throw new Cursor(this.#source, "end").error(InvalidField, "bytes follow the trailer");
  }
}
