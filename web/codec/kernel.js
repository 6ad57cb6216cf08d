/** The kernel in C as WebAssembly; ncodec/native/wasm.c says what it exports. */

export const LANES = 16; // rows of outputs are padded to whole multiples of this

/**
 * Return the length of a row of n numbers.
 * @param {number} n
 */
export function padded(n) {
  return Math.ceil(n / LANES) * LANES;
}

/** A number of an address in the kernel's memory. @typedef {number} Pointer */

/** One instance: its memory, and the functions that work in it. For one thread at a time. */
export class Kernel {
  /** @param {WebAssembly.Instance} instance */
  constructor(instance) {
    /** @type {Record<string, any>} */
    this.calls = instance.exports;
  }

  /**
   * Compile and start the kernel.
   * @param {BufferSource | Response | Promise<Response>} module of ncodec.wasm
   */
  static async load(module) {
    const there = await module;
    const bytes = there instanceof Response ? await there.arrayBuffer() : there;
    const { instance } = await WebAssembly.instantiate(bytes, {});
    return new Kernel(instance);
  }

  /**
   * Return room for bytes; `release` gives it back. Throws RangeError without memory.
   * @param {number} nBytes
   * @returns {Pointer}
   */
  room(nBytes) {
    const at = this.calls.malloc(nBytes);
    if (!at) throw new RangeError(`the kernel has no memory for ${nBytes} bytes`);
    return at;
  }

  /** @param {Pointer[]} pointers */
  release(...pointers) {
    for (const pointer of pointers) this.calls.free(pointer);
  }

  /**
   * Return a copy of bytes in the kernel's memory.
   * @param {Uint8Array} bytes
   * @returns {Pointer}
   */
  place(bytes) {
    const at = this.room(bytes.length);
    new Uint8Array(this.calls.memory.buffer).set(bytes, at);
    return at;
  }

  /**
   * A view of floats, valid until the kernel needs more memory.
   * @param {Pointer} at
   * @param {number} n
   */
  floats(at, n) {
    return new Float32Array(this.calls.memory.buffer, at, n);
  }

  /**
   * A view of 32-bit numbers, valid until the kernel needs more memory.
   * @param {Pointer} at
   * @param {number} n
   */
  integers(at, n) {
    return new Int32Array(this.calls.memory.buffer, at, n);
  }

  /**
   * Return what a function of the kernel made. Throws RangeError where it had no memory for it.
   * @param {Pointer} made
   * @param {string} what
   */
  made(made, what) {
    if (!made) throw new RangeError(`the kernel has no memory for ${what}`);
    return made;
  }
}

/** Weights [out, in] and biases [out], in the kernel's memory until the page ends. */
export class Matrix {
  #kernel;
  #handle;

  /**
   * @param {Kernel} kernel
   * @param {import("./safetensors.js").Tensor} weights of F32 or F16
   * @param {import("./safetensors.js").Tensor} [biases]
   */
  constructor(kernel, weights, biases) {
    const [nOut, nIn] = weights.shape;
    this.nOut = padded(nOut);
    this.nIn = nIn;
    this.#kernel = kernel;
    const at = kernel.place(weights.bytes);
    const more = biases ? kernel.place(biases.bytes) : 0;
    const sizes = [weights.itemBytes, more, biases?.itemBytes ?? 4];
    this.#handle = kernel.made(kernel.calls.matrix_new(nOut, nIn, at, ...sizes), "a matrix");
    kernel.release(at);
    if (more) kernel.release(more);
  }

  /**
   * Write the products [n, nOut] of rows of nIn floats, `step` floats apart.
   * @param {Pointer} rows
   * @param {number} step
   * @param {number} n
   * @param {Pointer} found
   */
  product(rows, step, n, found) {
    this.#kernel.calls.product(this.#handle, rows, step, n, found);
  }
}

/** Causal ConvNeXt blocks and a norm, in the kernel's memory until the page ends. */
export class Stack {
  #kernel;
  #handle;

  /**
   * @param {Kernel} kernel
   * @param {{width: number, nBlocks: number, kernel: number, hidden: number, activation: number}}
   *     sizes
   * @param {import("./safetensors.js").Tensor[]} tensors in the order of networks.h
   */
  constructor(kernel, sizes, tensors) {
    this.#kernel = kernel;
    this.pastSize = sizes.nBlocks * (sizes.kernel - 1) * padded(sizes.width); // floats
    const numbers = [sizes.width, sizes.nBlocks, sizes.kernel, sizes.hidden, sizes.activation];
    const places = tensors.map(({ bytes }) => kernel.place(bytes));
    const pairs = tensors.flatMap(({ itemBytes }, i) => [places[i], itemBytes]);
    const list = kernel.place(new Uint8Array(Int32Array.from(pairs).buffer));
    const shape = kernel.place(new Uint8Array(Int32Array.from(numbers).buffer));
    this.#handle = kernel.made(kernel.calls.stack_new(shape, list), "the blocks");
    kernel.release(shape, list, ...places);
  }

  /**
   * Map rows [n, W+] to rows [n, W+]; `past` becomes that of the next call.
   * @param {Pointer} condition [blocks, 2, W+] or 0
   * @param {Pointer} past
   * @param {Pointer} rows
   * @param {number} n
   * @param {Pointer} found
   */
  run(condition, past, rows, n, found) {
    const failed = this.#kernel.calls.stack_run(this.#handle, condition, past, rows, n, found);
    if (failed) throw new RangeError("the kernel has no memory for rows");
  }
}
