/**
 * The entropy coders: payloads to codes (PAYLOADS.md).
 *
 * Codes are Int32Array [F, S, Q]: F frames, S streams, Q codebooks. A key packet starts from an
 * empty context, a dependent one continues that of the packet before it in the same object.
 */
import { LimitExceeded, PayloadError } from "../ncx/errors.js";

export const MAX_CODES = 1 << 22; // in one packet: bounds the memory and time it can ask for
const MAX_TRANSFORMER_FRAMES = 1 << 12; // each is a step of the network
const MAX_ADAPTIVE_CODES = 1 << 21; // of all codebooks together
const MAX_MIXED_CODEBOOKS = 1 << 13; // of all streams together

/** @typedef {import("./kernel.js").Kernel} Kernel */
/** @typedef {import("../ncx/header.js").Header} Header */

/**
 * Return how many codes so many frames have. Raises LimitExceeded.
 * @param {number} nFrames
 * @param {Header} header
 */
function countCodes(nFrames, header) {
  const nCodes = nFrames * header.codesPerFrame;
  if (nCodes > MAX_CODES) {
    throw new LimitExceeded(`packet announces ${nCodes} codes; the limit is ${MAX_CODES}`);
  }
  return nCodes;
}

/** Plain bits, no model. */
export class PackedCoder {
  #header;

  /** @param {Header} header */
  constructor(header) {
    this.#header = header;
  }

  /**
   * Return the codes of a packet. Raises LimitExceeded or PayloadError.
   * @param {Uint8Array} payload
   * @param {number} nFrames
   */
  decode(payload, nFrames) {
    const nCodes = countCodes(nFrames, this.#header);
    const size = this.#header.codebookSize;
    const width = 32 - Math.clz32(size - 1);
    const nBytes = Math.ceil((nCodes * width) / 8);
    if (payload.length !== nBytes) {
      const found = `expected ${nBytes} bytes, found ${payload.length}`;
      throw new PayloadError(`packed payload of ${nCodes} codes: ${found}`);
    }
    const codes = new Int32Array(nCodes);
    let bits = 0; // at most 7 + 16 + 8 of them are held
    let nBits = 0;
    let at = 0;
    let largest = 0;
    for (let i = 0; i < nCodes; i++) {
      for (; nBits < width; nBits += 8) bits = ((bits << 8) | payload[at++]) & 0xffffff;
      nBits -= width;
      codes[i] = (bits >> nBits) & ((1 << width) - 1);
      largest = Math.max(largest, codes[i]);
    }
    if (bits & ((1 << nBits) - 1)) {
      throw new PayloadError("packed payload: the bits after the last code are not zero");
    }
    if (largest >= size) {
      throw new PayloadError(`packed payload: code ${largest}, expected 0 to ${size - 1}`);
    }
    return codes;
  }

  /** Nothing is held. */
  close() {}
}

/**
 * What a coder of the kernel does.
 * @typedef {object} Parts
 * @property {string} name
 * @property {() => void} reset start again, as before a key packet
 * @property {(payload: number, nBytes: number, nFrames: number, codes: number) => number} run
 *     decode a payload; -1, or after how many codes no symbol fits
 * @property {() => void} close give the memory back
 * @property {number} mostFrames of a packet
 * @property {number} symbols most that the range coder takes for a code
 */

/** A coder of the kernel, with what its packets so far leave. */
class RangeCoder {
  #kernel;
  #header;
  #parts;
  #continues = false; // whether a dependent packet may follow

  /**
   * @param {Kernel} kernel
   * @param {Header} header
   * @param {Parts} parts
   */
  constructor(kernel, header, parts) {
    this.#kernel = kernel;
    this.#header = header;
    this.#parts = parts;
  }

  /**
   * Return the codes of a packet. Raises LimitExceeded or PayloadError.
   * @param {Uint8Array} payload
   * @param {number} nFrames
   * @param {boolean} dependent
   */
  decode(payload, nFrames, dependent) {
    const { name, reset, run, mostFrames, symbols } = this.#parts;
    const continues = this.#continues;
    this.#continues = false; // no context is left if this packet fails
    if (nFrames > mostFrames) {
      const limit = `the limit is ${mostFrames}`;
      throw new LimitExceeded(`packet announces ${nFrames} frames; ${limit}`);
    }
    if (dependent && !continues) {
      const fault = "the packet before this one was not decoded";
      throw new PayloadError(`${name} payload: ${fault}`);
    }
    const nCodes = countCodes(nFrames, this.#header);
    checkPayload(payload, nCodes * symbols);
    if (!dependent) reset();
    const kernel = this.#kernel;
    const from = kernel.place(payload);
    const to = kernel.room(4 * nCodes);
    const failed = run(from, payload.length, nFrames, to);
    const codes = kernel.integers(to, nCodes).slice();
    kernel.release(from, to);
    if (failed >= 0) {
      throw new PayloadError(`range-coded payload: no symbol fits after ${failed} symbols`);
    }
    this.#continues = true;
    return codes;
  }

  /** Give the memory back. */
  close() {
    this.#parts.close();
  }
}

/**
 * Raise PayloadError for bytes that no encoder writes for so many symbols.
 * @param {Uint8Array} payload
 * @param {number} nSymbols
 */
function checkPayload(payload, nSymbols) {
  if (payload.length && payload[payload.length - 1] === 0) {
    throw new PayloadError("range-coded payload: its last byte is zero");
  }
  if (payload.length > 3 * nSymbols + 8) {
    const fault = `${payload.length} bytes are too many for ${nSymbols} symbols`;
    throw new PayloadError(`range-coded payload: ${fault}`);
  }
}

/**
 * Range coding with a mixture of six simple predictors. Raises LimitExceeded for more codes than
 * the coder takes.
 * @param {Kernel} kernel
 * @param {Header} header
 */
export function adaptiveCoder(kernel, header) {
  const { nStreams, nCodebooks, codebookSize } = header;
  if (nStreams * nCodebooks * codebookSize > MAX_ADAPTIVE_CODES) {
    const sizes = `${nStreams} streams of ${nCodebooks} codebooks of ${codebookSize} codes`;
    const limit = `the limit is ${MAX_ADAPTIVE_CODES} codes in all`;
    throw new LimitExceeded(`adaptive coder: ${sizes}; ${limit}`);
  }
  const { calls } = kernel;
  const made = calls.adaptive_new(nStreams, nCodebooks, codebookSize);
  const state = kernel.made(made, "the adaptive coder");
  return new RangeCoder(kernel, header, {
    name: "adaptive",
    reset: () => calls.adaptive_reset(state),
    run: (...job) => calls.adaptive_decode(state, ...job),
    close: () => calls.adaptive_free(state),
    mostFrames: Infinity,
    symbols: 1,
  });
}

/**
 * Range coding of bits, with what frames of like contexts say of them.
 * @param {Kernel} kernel
 * @param {Header} header
 */
export function mixedCoder(kernel, header) {
  const { nStreams, nCodebooks, codebookSize } = header;
  if (nStreams * nCodebooks > MAX_MIXED_CODEBOOKS) {
    const sizes = `${nStreams} streams of ${nCodebooks} codebooks`;
    const limit = `the limit is ${MAX_MIXED_CODEBOOKS} codebooks in all`;
    throw new LimitExceeded(`mixed coder: ${sizes}; ${limit}`);
  }
  const { calls } = kernel;
  const made = calls.mixed_new(nStreams, nCodebooks, codebookSize);
  const state = kernel.made(made, "the mixed coder");
  return new RangeCoder(kernel, header, {
    name: "mixed",
    reset: () => calls.mixed_reset(state),
    run: (...job) => calls.mixed_decode(state, ...job),
    close: () => calls.mixed_free(state),
    mostFrames: Infinity,
    symbols: 32 - Math.clz32(codebookSize - 1),
  });
}

/**
 * Range coding with the frequencies of the integer transformer.
 * @param {Kernel} kernel
 * @param {Header} header of sizes that the model has
 * @param {import("./entropy_model.js").EntropyModel} model
 */
export function transformerCoder(kernel, header, model) {
  const { calls } = kernel;
  const made = calls.context_new(model.handle, header.nStreams, header.nCodebooks);
  const context = kernel.made(made, "the transformer");
  return new RangeCoder(kernel, header, {
    name: "transformer",
    reset: () => calls.context_reset(context),
    run: (...job) => calls.decode(context, ...job),
    close: () => calls.context_free(context),
    mostFrames: MAX_TRANSFORMER_FRAMES,
    symbols: 1,
  });
}
