/** Files to sound: the worker that decodes, the models that it needs, the sound card. */
import { Playback } from "./playback.js";
import { fetchResource, resourceUrl } from "./resources.js";
import { candidates, ModelFiles } from "./site.js";

/** @typedef {{name: string, blob?: Blob, address?: string}} Item a file that can be played */

/**
 * What the page is told.
 * @typedef {object} Listener
 * @property {(header: any) => void} header what an opened file says of itself
 * @property {(peaks: import("./peaks.js").Peaks) => void} peaks of what was decoded
 * @property {() => void} length the end was found of a file whose length was not known
 * @property {() => void} end all was played
 * @property {(text: string) => void} error
 */

export class Engine {
  #site;
  #listener;
  #worker = new Worker(resourceUrl("worker.js"), { type: "module" });
  #files = new ModelFiles();
  /** @type {Promise<void> | null} */
  #kernel = null;
  /** @type {Playback | null} */
  #playback = null;
  #isConnected = false; // whether the worker has the playback's port
  #isReady = false; // whether there are models for the file
  #number = 0; // of the file
  #run = 0; // of the decoding
  #sample = 0; // where it is
  #rateHz = 1;
  #volume = 1;
  /** Whether it plays, or will as soon as there is audio. */
  isPlaying = false;
  /** Seconds; null while it is not known. @type {number | null} */
  durationS = null;

  /**
   * @param {Promise<import("./site.js").Site>} site
   * @param {Listener} listener
   */
  constructor(site, listener) {
    this.#site = site;
    this.#listener = listener;
    this.#worker.onmessage = ({ data }) => this.#hear(data);
    this.#worker.onerror = (event) => {
      this.#fail(new Error(`the decoder cannot run: ${event.message || "worker.js"}`));
    };
  }

  /** Whether the models for the file are there, and it can be played. */
  get isReady() {
    return this.#isReady;
  }

  /** Where it is, s. */
  get place() {
    return this.#sample / this.#rateHz;
  }

  /** @param {number} volume 0 to 1 */
  set volume(volume) {
    this.#volume = volume;
    if (this.#playback) this.#playback.volume = volume;
  }

  /**
   * Open a file, and make ready to play it.
   * @param {Item} item
   * @param {boolean} isPlaying whether it plays as soon as it can
   */
  async open({ name, blob, address }, isPlaying) {
    this.#playback?.pause();
    this.#playback?.start(++this.#run, 0);
    this.isPlaying = isPlaying;
    this.#isReady = false;
    this.#sample = 0;
    this.durationS = null;
    const number = ++this.#number;
    try {
      const isInside = address && !/^https?:/.test(address);
      const whole = isInside ? await (await fetch(address)).blob() : (blob ?? null);
      if (number === this.#number) {
        this.#worker.postMessage({ kind: "open", number, name, blob: whole, address });
      }
    } catch (error) {
      if (number === this.#number) this.#fail(new Error(`${name}: cannot be read: ${error}`));
    }
  }

  /** Play, as soon as there is audio. */
  play() {
    this.isPlaying = true;
    if (this.#isReady) this.#playback?.play();
  }

  pause() {
    this.isPlaying = false;
    this.#playback?.pause();
  }

  /**
   * Go to a place.
   * @param {number} seconds
   */
  seek(seconds) {
    if (!this.#isReady) return;
    const end = this.durationS === null ? Infinity : this.durationS * this.#rateHz;
    this.#decode(Math.floor(Math.max(0, Math.min(seconds * this.#rateHz, end))));
  }

  /** @param {number} sample to start from */
  #decode(sample) {
    const playback = /** @type {Playback} */ (this.#playback);
    const run = ++this.#run;
    this.#sample = sample;
    playback.start(run, sample);
    const job = { kind: "decode", number: this.#number, run, sample, room: playback.size };
    const given = this.#isConnected ? [] : [playback.port];
    this.#worker.postMessage({ ...job, port: given[0] }, given);
    this.#isConnected = true;
  }

  /** @param {any} message of the worker */
  #hear(message) {
    if (message.number !== this.#number) return;
    if (message.kind === "header") this.#prepare(message).catch((error) => this.#fail(error));
    else if (message.kind === "peaks") this.#listener.peaks(message.peaks);
    else if (message.kind === "error") this.#fail(new Error(message.text));
    else if (message.run === this.#run) {
      this.durationS ??= message.nSamples / this.#rateHz;
      this.#listener.length();
    }
  }

  /** @param {any} header of the file that was opened */
  async #prepare(header) {
    const { number } = header;
    this.#rateHz = header.sampleRateHz;
    this.durationS = header.durationS;
    this.#listener.header(header);
    const [site] = await Promise.all([this.#site, this.#open(header), this.#loadKernel()]);
    for (const wanted of header.wanted) {
      for await (const model of this.#files.fetch(candidates(site, wanted))) {
        this.#worker.postMessage({ kind: "model", ...model }, [model.bytes]);
      }
    }
    if (number !== this.#number) return;
    this.#isReady = true;
    this.#decode(0);
    if (this.isPlaying) this.#playback?.play();
  }

  #loadKernel() {
    this.#kernel ??= fetchResource("ncodec.wasm")
      .then((response) => response.arrayBuffer())
      .then((wasm) => this.#worker.postMessage({ kind: "kernel", wasm }, [wasm]));
    this.#kernel.catch(() => (this.#kernel = null)); // it may be there the next time
    return this.#kernel;
  }

  /** @param {{number: number, sampleRateHz: number, nChannels: number}} header */
  async #open({ number, sampleRateHz, nChannels }) {
    const { rateHz, nChannels: nOpen } = this.#playback ?? {};
    if (rateHz === sampleRateHz && nOpen === nChannels) return;
    this.#playback?.close();
    this.#playback = null;
    const playback = await Playback.open(sampleRateHz, nChannels, ({ place, isOver }) => {
      if (this.isPlaying && place > this.#sample) performance.mark("ncodec-sound");
      this.#sample = place;
      if (isOver) this.#end();
    });
    if (number !== this.#number) {
      playback.close();
      return;
    }
    playback.volume = this.#volume;
    this.#playback = playback;
    this.#isConnected = false;
  }

  #end() {
    this.pause();
    this.#listener.end();
  }

  /** @param {Error} error */
  #fail(error) {
    if (!this.#isReady) this.isPlaying = false;
    this.#listener.error(error.message);
  }
}
