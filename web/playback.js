/** The sound card, as the page sees it: audio comes from the worker to the worklet by itself. */
import { resourceUrl } from "./resources.js";

const AHEAD_S = 20; // of audio that are decoded before they are played
const MOST_FLOATS = 1 << 22; // of all channels
const MOST_CHANNELS = 32; // of a node

export class Playback {
  #context;
  #gain;
  #node;
  #isClosed = false;
  #run = 0;

  /**
   * @param {AudioContext} context that has the worklet
   * @param {number} nChannels
   * @param {(said: {place: number, isOver: boolean}) => void} hear where it is, samples
   */
  constructor(context, nChannels, hear) {
    this.#context = context;
    this.nChannels = nChannels;
    this.rateHz = context.sampleRate;
    /** Samples per channel that are taken ahead. */
    this.size = Math.floor(Math.min(AHEAD_S * this.rateHz, MOST_FLOATS / nChannels));
    this.#gain = context.createGain();
    this.#gain.connect(context.destination);
    this.#node = new AudioWorkletNode(context, "ncodec-speaker", {
      numberOfInputs: 0,
      outputChannelCount: [Math.min(nChannels, MOST_CHANNELS)],
      processorOptions: { nChannels, size: this.size },
    });
    this.#node.connect(this.#gain);
    this.#node.port.onmessage = ({ data }) => data.run === this.#run && hear(data);
    const { port1, port2 } = new MessageChannel();
    this.#node.port.postMessage({ port: port1 }, [port1]);
    /** The worker's end. @type {MessagePort} */
    this.port = port2;
  }

  /**
   * Open the sound card at the codec's rate: the browser resamples from it, if it has to.
   * @param {number} rateHz
   * @param {number} nChannels
   * @param {(said: {place: number, isOver: boolean}) => void} hear
   */
  static async open(rateHz, nChannels, hear) {
    const context = new AudioContext({ sampleRate: rateHz, latencyHint: "interactive" });
    if (!context.audioWorklet) {
      throw new Error("this browser plays only on pages that are served by https");
    }
    await context.audioWorklet.addModule(resourceUrl("worklet.js"));
    return new Playback(context, nChannels, hear);
  }

  /**
   * Wait for the audio of a run; that of others is forgotten.
   * @param {number} run
   * @param {number} place its first sample
   */
  start(run, place) {
    this.#run = run;
    this.#node.port.postMessage({ run, place });
  }

  /** Go on. */
  async play() {
    this.#node.port.postMessage({ isPlaying: true });
    await this.#context.resume();
  }

  pause() {
    this.#node.port.postMessage({ isPlaying: false });
    this.#context.suspend();
  }

  /** @param {number} volume 0 to 1 */
  set volume(volume) {
    this.#gain.gain.value = volume ** 2; // a slider's steps are heard as about equal
  }

  /** Give the sound card back. */
  close() {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#node.port.postMessage({ isOpen: false });
    this.#context.close();
  }
}
