/**
 * Plays audio in the thread of the sound card, from a ring of a bounded size.
 *
 * From the worker, through a port of its own: `start`, `audio` and `end` of a run; to it, how many
 * samples were taken. From the page: whether to play, and the newest run; to it, the place.
 */
/* global AudioWorkletProcessor, registerProcessor */

const REPORT = 16; // quanta between two reports

/** Samples of all channels, first in, first out. */
class Ring {
  #channels;
  #size;
  #first = 0;
  length = 0;

  /**
   * @param {number} nChannels
   * @param {number} size samples
   */
  constructor(nChannels, size) {
    this.#channels = Array.from({ length: nChannels }, () => new Float32Array(size));
    this.#size = size;
  }

  clear() {
    this.length = 0;
  }

  /** @param {Float32Array[]} block for which there is room */
  push(block) {
    const at = (this.#first + this.length) % this.#size;
    const n = Math.min(block[0].length, this.#size - at);
    this.#channels.forEach((channel, c) => {
      channel.set(block[c].subarray(0, n), at);
      channel.set(block[c].subarray(n), 0);
    });
    this.length += block[0].length;
  }

  /**
   * Move samples to outputs; return how many there were.
   * @param {Float32Array[]} output
   */
  take(output) {
    const n = Math.min(output[0].length, this.length);
    const before = Math.min(n, this.#size - this.#first);
    output.forEach((samples, c) => {
      const channel = this.#channels[c];
      if (!channel) return;
      samples.set(channel.subarray(this.#first, this.#first + before));
      samples.set(channel.subarray(0, n - before), before);
    });
    this.#first = (this.#first + n) % this.#size;
    this.length -= n;
    return n;
  }
}

class Speaker extends AudioWorkletProcessor {
  #ring;
  #run = 0;
  #place = 0; // of the next sample
  #taken = 0; // samples since the last report
  #quanta = 0;
  #isPlaying = false;
  #hasEnded = false;
  #isOpen = true;
  /** @type {MessagePort | null} */
  #worker = null;

  /** @param {{processorOptions: {nChannels: number, size: number}}} options */
  constructor({ processorOptions: { nChannels, size } }) {
    super();
    this.#ring = new Ring(nChannels, size);
    this.port.onmessage = (/** @type {MessageEvent} */ { data }) => this.#obey(data);
  }

  /** @param {any} data from the page */
  #obey(data) {
    if (data.port) {
      this.#worker = data.port;
      data.port.onmessage = (/** @type {MessageEvent} */ event) => this.#hear(event.data);
    }
    if (data.run > this.#run) this.#start(data.run, data.place);
    if ("isPlaying" in data) this.#isPlaying = data.isPlaying;
    if (data.isOpen === false) this.#isOpen = false;
    if (this.#isPlaying) this.#quanta = 0; // the page is told as soon as there is sound
  }

  /**
   * Forget the audio of the run before.
   * @param {number} run
   * @param {number} place
   */
  #start(run, place) {
    this.#run = run;
    this.#place = place;
    this.#taken = 0;
    this.#quanta = 0;
    this.#hasEnded = false;
    this.#ring.clear();
  }

  /** @param {any} data from the worker */
  #hear({ kind, run, place, channels }) {
    if (run < this.#run) return;
    if (run > this.#run) this.#start(run, place);
    if (kind === "audio") this.#ring.push(channels);
    else if (kind === "end") this.#hasEnded = true;
  }

  /**
   * @param {Float32Array[][]} inputs
   * @param {Float32Array[][]} outputs
   */
  process(inputs, [output]) {
    if (!this.#isPlaying || !this.#isOpen) return this.#isOpen;
    const n = this.#ring.take(output);
    this.#place += n;
    this.#taken += n;
    const isOver = this.#hasEnded && !this.#ring.length;
    if (isOver) this.#isPlaying = false;
    if (isOver || (n && this.#quanta++ % REPORT === 0)) this.#report(isOver);
    return true;
  }

  /** @param {boolean} isOver */
  #report(isOver) {
    const run = this.#run;
    this.port.postMessage({ run, place: this.#place, isOver });
    this.#worker?.postMessage({ run, taken: this.#taken });
    this.#taken = 0;
  }
}

registerProcessor("ncodec-speaker", Speaker);
