/** The loudest samples of short stretches of time: what a waveform is drawn from. */

const PEAKS_HZ = 50;
const MOST_PEAKS = 1 << 22; // of a day: bounds the memory

/**
 * The peaks of a block of audio.
 * @typedef {object} Peaks
 * @property {number} first number of the stretch that the first is of
 * @property {Float32Array} values of one stretch after another
 */

/**
 * Return the peaks of a block.
 * @param {Float32Array[]} channels
 * @param {number} place of the block's first sample
 * @param {number} rateHz
 * @returns {Peaks}
 */
export function peaksOf(channels, place, rateHz) {
  const length = channels[0]?.length ?? 0;
  const at = (/** @type {number} */ i) => Math.floor(((place + i) * PEAKS_HZ) / rateHz);
  const first = at(0);
  const values = new Float32Array(length ? at(length - 1) - first + 1 : 0);
  for (const channel of channels) {
    for (let i = 0; i < length; i++) {
      const stretch = at(i) - first;
      values[stretch] = Math.max(values[stretch], Math.abs(channel[i]));
    }
  }
  return { first, values };
}

/** The peaks of a file, as far as they are known. */
export class Waveform {
  #values = new Float32Array(1 << 10);
  #n = 0;

  /** Seconds whose peaks are known, from the start on. */
  get seconds() {
    return this.#n / PEAKS_HZ;
  }

  /** @param {Peaks} peaks */
  add({ first, values }) {
    const end = first + values.length;
    if (end > MOST_PEAKS) return;
    if (end > this.#values.length) {
      const more = new Float32Array(Math.max(end, 2 * this.#values.length));
      more.set(this.#values);
      this.#values = more;
    }
    values.forEach((value, i) => {
      this.#values[first + i] = Math.max(this.#values[first + i], value);
    });
    this.#n = Math.max(this.#n, end);
  }

  /**
   * Return the greatest peak of each of some columns of equal time.
   * @param {number} nColumns
   * @param {number} seconds of all of them
   */
  columns(nColumns, seconds) {
    const found = new Float32Array(nColumns);
    const step = (seconds * PEAKS_HZ) / nColumns;
    for (let column = 0; column < nColumns && column * step < this.#n; column++) {
      const first = Math.floor(column * step);
      const end = Math.min(this.#n, Math.max(first + 1, Math.ceil((column + 1) * step)));
      for (let i = first; i < end; i++) found[column] = Math.max(found[column], this.#values[i]);
    }
    return found;
  }
}
