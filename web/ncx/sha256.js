/** SHA-256 (FIPS 180-4), fed in parts: pages that are not served securely have no other. */

const BLOCK_BYTES = 64;
const [START, ROUNDS] = constants();

/** The first 32 bits of the fractions of the square roots of 8 primes, and cube roots of 64. */
function constants() {
  const primes = [];
  for (let n = 2; primes.length < 64; n++) if (primes.every((prime) => n % prime)) primes.push(n);
  const bits = (/** @type {number} */ root) => Math.floor((root % 1) * 2 ** 32);
  return [
    Uint32Array.from(primes.slice(0, 8), (prime) => bits(Math.sqrt(prime))),
    Uint32Array.from(primes, (prime) => bits(Math.cbrt(prime))),
  ];
}

export class Sha256 {
  #state = START.slice();
  #words = new Uint32Array(64);
  #block = new Uint8Array(BLOCK_BYTES);
  #held = 0; // bytes in the block
  #total = 0; // bytes so far

  /**
   * Add bytes.
   * @param {Uint8Array} bytes
   */
  update(bytes) {
    this.#total += bytes.length;
    let at = 0;
    if (this.#held) {
      at = Math.min(BLOCK_BYTES - this.#held, bytes.length);
      this.#block.set(bytes.subarray(0, at), this.#held);
      this.#held += at;
      if (this.#held < BLOCK_BYTES) return this;
      this.#compress(this.#block, 0);
    }
    for (; at + BLOCK_BYTES <= bytes.length; at += BLOCK_BYTES) this.#compress(bytes, at);
    this.#block.set(bytes.subarray(at));
    this.#held = bytes.length - at;
    return this;
  }

  /**
   * Return the 32 bytes of the digest; nothing may be added afterwards.
   * @returns {Uint8Array}
   */
  digest() {
    const total = this.#total;
    const padding = new Uint8Array(((119 - (total % BLOCK_BYTES)) % BLOCK_BYTES) + 9);
    padding[0] = 0x80;
    new DataView(padding.buffer).setBigUint64(padding.length - 8, BigInt(total) * 8n);
    this.update(padding);
    const digest = new Uint8Array(32);
    const view = new DataView(digest.buffer);
    this.#state.forEach((word, i) => view.setUint32(4 * i, word));
    return digest;
  }

  /**
   * @param {Uint8Array} bytes
   * @param {number} at where the block starts
   */
  #compress(bytes, at) {
    const words = this.#words;
    for (let i = 0; i < 16; i++, at += 4) {
      words[i] = (bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3];
    }
    for (let i = 16; i < 64; i++) {
      const early = words[i - 15];
      const late = words[i - 2];
      const a = ((early >>> 7) | (early << 25)) ^ ((early >>> 18) | (early << 14)) ^ (early >>> 3);
      const b = ((late >>> 17) | (late << 15)) ^ ((late >>> 19) | (late << 13)) ^ (late >>> 10);
      words[i] = words[i - 16] + a + words[i - 7] + b;
    }
    const state = this.#state;
    let [a, b, c, d, e, f, g, h] = state;
    for (let i = 0; i < 64; i++) {
      const turned = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
      const first = (h + turned + ((e & f) ^ (~e & g)) + ROUNDS[i] + words[i]) | 0;
      const other = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
      const second = (other + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      h = g;
      g = f;
      f = e;
      e = (d + first) | 0;
      d = c;
      c = b;
      b = a;
      a = (first + second) | 0;
    }
    const after = [a, b, c, d, e, f, g, h];
    for (let i = 0; i < 8; i++) state[i] += after[i];
  }
}

/**
 * Return the digest of bytes.
 * @param {Uint8Array} bytes
 */
export function sha256(bytes) {
  return new Sha256().update(bytes).digest();
}
