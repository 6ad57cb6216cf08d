/** A file that is played from any place, as often as is wanted. */
import { FormatError } from "../ncx/errors.js";
import { readHeader } from "../ncx/header.js";
import { inBlocks } from "../ncx/http.js";
import { readIndex } from "../ncx/ranges.js";
import { Reader } from "../ncx/reader.js";
import { from } from "../ncx/source.js";
import { Indexed } from "./access.js";
import { Decoder } from "./decoder.js";

/** @typedef {import("../ncx/source.js").Ranges} Ranges */

export class Track {
  #file;
  #trailer;

  /**
   * @param {Ranges} file
   * @param {string} name
   * @param {import("../ncx/header.js").Header} header
   * @param {import("../ncx/trailer.js").Trailer | null} trailer null: without an index
   */
  constructor(file, name, header, trailer) {
    this.#file = file;
    this.name = name;
    this.header = header;
    this.#trailer = trailer;
  }

  /**
   * Read the header of a file, and its index from its end. Raises FormatError.
   * @param {Ranges} file
   * @param {string} [name] for errors
   */
  static async open(file, name = "<stream>") {
    const blocks = inBlocks(file);
    const header = await readHeader(from(blocks, name, 0));
    let trailer = null;
    try {
      ({ trailer } = await readIndex(blocks, name));
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      // What is intact is played, front to back; the damage is said when it is met.
    }
    return new Track(blocks, name, header, trailer);
  }

  /** Whether any place can be read without what is before it. */
  get isIndexed() {
    return this.#trailer !== null;
  }

  /** Samples of the source per channel; null where only the end of the file would tell. */
  get nSamples() {
    return this.header.nSamples ?? this.#trailer?.nSamples ?? null;
  }

  /** Length of the source in seconds, null if unknown. */
  get durationS() {
    const { nSamples } = this;
    return nSamples === null ? null : Number(nSamples) / this.header.sourceSampleRateHz;
  }

  /** Bytes a second of the packets and their index, in bits; null if the length is unknown. */
  get bitrateBps() {
    const { durationS } = this;
    return durationS ? (8 * (this.#file.size - this.header.headerBytes)) / durationS : null;
  }

  /**
   * Return a fresh decoder. Raises FormatError, ModelError.
   * @param {import("./models.js").Models} models
   */
  async decoder(models) {
    const { name, header } = this;
    if (this.#trailer) {
      return new Decoder(new Indexed(this.#file, header, this.#trailer, name), models);
    }
    return Decoder.open(this.#file, models, name);
  }
}
