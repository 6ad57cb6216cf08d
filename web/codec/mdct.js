/** The basis of the inverse MDCT, and the table of noise (SPECTRAL.md, sections 4 and 5). */

const NOISE_SIZE = 1 << 16;
const NOISE_STRIDE = 40503; // Knuth's hash, of 16 bits

/**
 * Return the windowed cosines [2N, N], row after row: their product with N bins is 2N samples.
 * @param {number} nBins
 */
export function mdctBasis(nBins) {
  const basis = new Float32Array(2 * nBins * nBins);
  for (let n = 0; n < 2 * nBins; n++) {
    const window = Math.sin((Math.PI / (2 * nBins)) * (n + 0.5));
    const scale = Math.sqrt(2 / nBins) * window;
    const turn = (Math.PI / nBins) * (n + 0.5 + nBins / 2);
    for (let k = 0; k < nBins; k++) basis[n * nBins + k] = scale * Math.cos(turn * (k + 0.5));
  }
  return basis;
}

/** Return noise of unit variance, 2^16 numbers, by SplitMix64. */
export function noiseTable() {
  const mask = (1n << 64n) - 1n;
  const table = new Float32Array(NOISE_SIZE);
  const root = Math.sqrt(3);
  let counter = 0n;
  for (let i = 0; i < NOISE_SIZE; i++) {
    counter = (counter + 0x9e3779b97f4a7c15n) & mask;
    let z = counter;
    z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & mask;
    z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & mask;
    table[i] = (Number(z >> 40n) / 2 ** 23 - 1) * root;
  }
  return table;
}

/**
 * Return where the noise of a frame starts in the table; it goes on at its start after its end.
 * @param {bigint} frame its number in its run
 */
export function noisePlace(frame) {
  return (Number(frame % BigInt(NOISE_SIZE)) * NOISE_STRIDE) % NOISE_SIZE;
}
