/**
 * Bytes as they come: whole, from a stream, or from ranges of a file.
 *
 * Structures are parsed from a buffer by plain functions, which use nothing up before they are
 * done. One that needs more bytes than there are throws NeedMore; `Source.parse` waits for them
 * and starts it again. So memory never grows beyond what has arrived.
 */

const FIRST_CHUNK_BYTES = 1 << 12; // so that the start of a file can be read alone
const CHUNK_BYTES = 1 << 16;

/** Thrown where a structure may go on in bytes that have not arrived. */
class NeedMore {
  /** @param {number} nBytes that the buffer must hold */
  constructor(nBytes) {
    this.nBytes = nBytes;
  }
}

/** @typedef {() => Promise<Uint8Array | null>} Pull gives the next bytes, null at the end */
/**
 * A file that can be read from any place.
 * @typedef {{size: number, read: (start: number, end: number) => Promise<Uint8Array>}} Ranges
 */
/** @typedef {ReadableStream<Uint8Array> | AsyncIterable<Uint8Array>} Stream */
/** @typedef {Uint8Array | Blob | Ranges | Stream} Input */

/** Bytes that have arrived but are not yet used; `offset` is the first one's place in the file. */
export class Source {
  #pull;
  #room = new Uint8Array(0);
  #start = 0;
  #end = 0;

  /**
   * @param {Pull} pull
   * @param {string} name of the file, for errors
   * @param {number} offset of the first byte that is pulled
   */
  constructor(pull, name, offset = 0) {
    this.#pull = pull;
    this.name = name;
    this.offset = offset;
    this.ended = false;
  }

  /**
   * Return a source of bytes that are all there.
   * @param {Uint8Array} bytes
   * @param {string} name
   */
  static of(bytes, name) {
    const source = new Source(async () => null, name);
    source.#room = bytes;
    source.#end = bytes.length;
    source.ended = true;
    return source;
  }

  /** Bytes in the buffer. */
  get length() {
    return this.#end - this.#start;
  }

  /**
   * Whether the file holds `nBytes` from here on.
   * @param {number} nBytes
   */
  need(nBytes) {
    if (this.length >= nBytes) return true;
    if (this.ended) return false;
    throw new NeedMore(nBytes);
  }

  /**
   * A byte of the buffer.
   * @param {number} at
   */
  byte(at) {
    return this.#room[this.#start + at];
  }

  /**
   * Bytes of the buffer, valid until more arrive.
   * @param {number} at
   * @param {number} end
   */
  view(at, end) {
    return this.#room.subarray(this.#start + at, this.#start + end);
  }

  /**
   * Forget the first bytes.
   * @param {number} nBytes
   */
  drop(nBytes) {
    this.#start += nBytes;
    this.offset += nBytes;
  }

  /**
   * Return what a function makes of the buffer, as soon as there is enough in it.
   * @template T
   * @param {() => T} structure
   * @returns {Promise<T>}
   */
  async parse(structure) {
    for (;;) {
      let missing;
      try {
        return structure();
      } catch (error) {
        if (!(error instanceof NeedMore)) throw error;
        missing = error.nBytes;
      }
      // Twice as much for each start, so that a long index is not started too often; where bytes
      // are read ahead of need depends on the chunks that come.
      const wanted = Math.max(missing, Math.min(2 * this.length, missing + CHUNK_BYTES));
      const enough = this.#live ? missing : wanted;
      while (this.length < enough && !this.ended) await this.#more();
    }
  }

  #live = false;

  /** Wait for no byte that is not needed: of a stream whose end may take its time. */
  live() {
    this.#live = true;
    return this;
  }

  async #more() {
    const chunk = await this.#pull();
    if (chunk === null) {
      this.ended = true;
      return;
    }
    const length = this.length;
    if (this.#end + chunk.length > this.#room.length) {
      const room = new Uint8Array(Math.max(2 * length, length + chunk.length));
      room.set(this.view(0, length));
      this.#room = room;
      this.#start = 0;
      this.#end = length;
    }
    this.#room.set(chunk, this.#end);
    this.#end += chunk.length;
  }
}

/**
 * Return a source of an input, front to back.
 * @param {Input} input
 * @param {string} name
 */
export function open(input, name) {
  if (input instanceof Uint8Array || input instanceof Blob) return from(ranges(input), name, 0);
  if ("read" in input) return from(input, name, 0);
  const chunks = input[Symbol.asyncIterator]?.() ?? readerOf(/** @type {any} */ (input));
  const pull = async () => {
    const { done, value } = await chunks.next();
    return done ? null : value;
  };
  return new Source(pull, name).live();
}

/**
 * Return an iterator of a stream where streams have none.
 * @param {ReadableStream<Uint8Array>} stream
 */
function readerOf(stream) {
  const reader = stream.getReader();
  return { next: () => /** @type {Promise<IteratorResult<Uint8Array>>} */ (reader.read()) };
}

/**
 * Return a source of a file from some place on.
 * @param {Ranges} file
 * @param {string} name
 * @param {number} offset
 * @param {number} [chunkBytes] that are read at first
 */
export function from(file, name, offset, chunkBytes = FIRST_CHUNK_BYTES) {
  let at = offset;
  const pull = async () => {
    const end = Math.min(file.size, at + chunkBytes);
    if (at >= end) return null;
    const chunk = await file.read(at, end);
    at = end;
    chunkBytes = Math.min(2 * chunkBytes, CHUNK_BYTES);
    return chunk.length ? chunk : null;
  };
  return new Source(pull, name, offset);
}

/**
 * Return the ranges of bytes, or of a file that a page was given.
 * @param {Uint8Array | Blob} input
 * @returns {Ranges}
 */
export function ranges(input) {
  if (input instanceof Uint8Array) {
    const read = async (/** @type {number} */ start, /** @type {number} */ end) =>
      input.subarray(start, end);
    return { size: input.length, read };
  }
  const read = async (/** @type {number} */ start, /** @type {number} */ end) =>
    new Uint8Array(await input.slice(start, end).arrayBuffer());
  return { size: input.size, read };
}
