/** What is audible of a span's audio, and silence where there is none. */
import { joined } from "./spectral.js";

const MOST_SILENCE = 1 << 20; // values that come at once

export class AudioWindow {
  #nChannels;
  #skip; // samples to leave out before the first audible one
  #place = 0; // audible samples so far
  #end; // of the audible samples
  #nHeld;
  /** @type {Float32Array[]} */
  #held; // what may turn out to lie after the end

  /**
   * @param {number} nChannels
   * @param {import("./timeline.js").Span} span
   * @param {number} frame samples that are held back while the end is not known
   */
  constructor(nChannels, span, frame) {
    this.#nChannels = nChannels;
    this.#skip = Number(span.skip);
    this.#end = span.nSamples === null ? Infinity : Number(span.nSamples);
    this.#nHeld = span.nSamples === null ? frame : 0;
    this.#held = Array.from({ length: nChannels }, () => new Float32Array(0));
  }

  /**
   * Say where the audible samples end.
   * @param {number} nSamples
   */
  end(nSamples) {
    this.#end = nSamples;
    this.#nHeld = 0;
  }

  /**
   * Yield what is audible of the samples that come next.
   * @param {Float32Array[]} channels
   */
  *take(channels) {
    const whole = channels.map((channel, c) => joined([this.#held[c], channel]));
    const nSure = Math.max(0, whole[0].length - this.#nHeld);
    this.#held = whole.map((channel) => channel.slice(nSure));
    const sure = whole.map((channel) => channel.subarray(0, nSure));
    if (this.#skip < 0 && nSure) {
      yield this.#silent(-this.#skip); // a rate's rounding may put the start before the first frame
      this.#skip = 0;
    }
    const first = Math.min(nSure, this.#skip);
    const end = Math.min(nSure, first + this.#end - this.#place);
    this.#skip -= Math.max(0, first);
    if (end <= first) return;
    this.#place += end - first;
    yield sure.map((channel) => channel.slice(first, end));
  }

  /** Yield silence up to the end. */
  *silence() {
    while (this.#place < this.#end) {
      const most = Math.ceil(MOST_SILENCE / this.#nChannels);
      yield this.#silent(Math.min(most, this.#end - this.#place));
    }
  }

  /** @param {number} nSamples */
  #silent(nSamples) {
    this.#place += nSamples;
    return Array.from({ length: this.#nChannels }, () => new Float32Array(nSamples));
  }
}
