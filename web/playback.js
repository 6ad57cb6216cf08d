/** Audio that arrives in blocks, played from any place of what has arrived. */

export class Playback {
  #context = new AudioContext();
  /** @type {Float32Array[][]} */
  #blocks = [];
  /** @type {AudioBufferSourceNode[]} */
  #scheduled = [];
  #rateHz;
  #place = 0; // where it is, or is to go on, s
  #started = 0; // of the context's clock, where place 0 would have been, s
  #next = 0; // the first block that is not scheduled
  playing = false;

  /** @param {number} rateHz */
  constructor(rateHz) {
    this.#rateHz = rateHz;
  }

  /** Seconds of audio that have arrived. */
  get arrived() {
    return this.#blocks.reduce((sum, [channel]) => sum + channel.length, 0) / this.#rateHz;
  }

  /** Where it is, in seconds. */
  get place() {
    const at = this.playing ? this.#context.currentTime - this.#started : this.#place;
    return Math.max(0, Math.min(at, this.arrived));
  }

  /**
   * Add audio at the end.
   * @param {Float32Array[]} channels
   */
  push(channels) {
    this.#blocks.push(channels);
    if (this.playing) this.#schedule();
  }

  /** Go on from where it is. */
  async play() {
    await this.#context.resume();
    this.#started = this.#context.currentTime - this.#place;
    this.#next = 0;
    this.playing = true;
    this.#schedule();
  }

  pause() {
    this.#place = this.place;
    this.playing = false;
    for (const node of this.#scheduled) node.stop();
    this.#scheduled = [];
  }

  /**
   * Go to a place.
   * @param {number} place s
   */
  async seek(place) {
    const { playing } = this;
    if (playing) this.pause();
    this.#place = Math.max(0, Math.min(place, this.arrived));
    if (playing) await this.play();
  }

  /** Give the sound card back. */
  close() {
    this.pause();
    this.#context.close();
  }

  /** Hand the blocks that have not been to the context, each at its time. */
  #schedule() {
    let start = this.#started;
    for (const [number, channels] of this.#blocks.entries()) {
      const length = channels[0].length / this.#rateHz;
      const late = Math.max(0, this.#context.currentTime - start);
      if (number >= this.#next && channels[0].length && late < length) {
        const buffer = this.#context.createBuffer(
          channels.length, channels[0].length, this.#rateHz,
        );
        channels.forEach((samples, channel) => buffer.copyToChannel(samples, channel));
        const node = this.#context.createBufferSource();
        node.buffer = buffer;
        node.connect(this.#context.destination);
        node.start(Math.max(start, this.#context.currentTime), late);
        this.#scheduled.push(node);
      }
      start += length;
    }
    this.#next = this.#blocks.length;
  }
}
