/** The way back: packets to codes, and codes to audio at the codec's rate. */
import { DigestMismatch, InvalidField, LimitExceeded, NcodecError } from "../ncx/errors.js";
import { Reader } from "../ncx/reader.js";
import { Sha256 } from "../ncx/sha256.js";
import { hex } from "../ncx/text.js";
import { AudioWindow } from "./audio_window.js";
import { joined, SpectralDecoder } from "./spectral.js";
import { atRate, spansOf } from "./timeline.js";

/** @typedef {import("./models.js").Models} Models */
/** @typedef {import("./timeline.js").Span} Span */
/** @typedef {import("../ncx/packets.js").Packet} Packet */

const MAX_PACKET_SECONDS = 40; // that are decoded at once: bounds the memory a file can ask for

/**
 * Return what an action does, the name of a file or packet in the error.
 * @template T
 * @param {string} name
 * @param {() => T} action
 */
function within(name, action) {
  try {
    return action();
  } catch (error) {
    throw error instanceof NcodecError ? error.within(name) : error;
  }
}

/**
 * @param {Reader} reader
 * @param {Packet} packet
 */
function placeOf(reader, packet) {
  return `${reader.name}: packet ${packet.number} at byte ${packet.offset}`;
}

/** Decodes packets in order, and compares the digest of all codes at their end. */
class CodesDecoder {
  #reader;
  #models;
  #digest = new Sha256();
  /** @type {ReturnType<Models["coder"]> | null} */
  #coder = null;

  /**
   * @param {Reader} reader
   * @param {Models} models
   */
  constructor(reader, models) {
    this.#reader = reader;
    this.#models = models;
  }

  /** Return the coder that the header names. Raises FormatError or ModelError. */
  open() {
    const { header, name } = this.#reader;
    this.#coder ??= within(name, () => this.#models.coder(header));
    return this.#coder;
  }

  /**
   * Return the codes [F, S, Q] of the next packet. Raises FormatError or ModelError.
   * @param {Packet} packet
   */
  decode(packet) {
    const coder = this.open();
    const codes = within(placeOf(this.#reader, packet), () =>
      coder.decode(packet.payload, packet.nFrames, packet.dependent),
    );
    const bytes = new Uint8Array(2 * codes.length);
    codes.forEach((code, i) => {
      bytes[2 * i] = code & 0xff;
      bytes[2 * i + 1] = code >> 8;
    });
    this.#digest.update(bytes);
    return codes;
  }

  /** Raise DigestMismatch where the trailer has another digest of all codes. */
  finish() {
    const { trailer, name } = this.#reader;
    const found = hex(this.#digest.digest().subarray(0, 4));
    if (trailer && hex(trailer.codesDigest) !== found) {
      const said = `the trailer says ${hex(trailer.codesDigest)}`;
      throw new DigestMismatch(`${name}: the decoded codes have digest ${found}, ${said}`);
    }
  }

  /** Give the coder's memory back. */
  close() {
    this.#coder?.close();
    this.#coder = null;
  }
}

/**
 * Yield the codes [F, S, Q] of each packet, of any architecture.
 *
 * Raises FormatError, ModelError, and after the last packet DigestMismatch.
 * @param {Reader} reader
 * @param {Models} models
 */
export async function* codesOf(reader, models) {
  const decoder = new CodesDecoder(reader, models);
  try {
    decoder.open();
    for await (const packet of reader) yield decoder.decode(packet);
    decoder.finish();
  } finally {
    decoder.close();
  }
}

/** A .ncx file on its way back to audio, at the codec's sample rate. */
export class Decoder {
  #reader;
  #model;
  #codes;
  #spans;
  #packets;
  #nRead = 0n; // frames so far
  #most; // frames that the samples need; null: only the trailer will tell

  /**
   * @param {Reader} reader whose packets are all left
   * @param {Models} models
   */
  constructor(reader, models) {
    const { header, name } = reader;
    this.header = header;
    this.sampleRateHz = header.sampleRateHz;
    this.nChannels = header.nChannels;
    this.#reader = reader;
    this.#packets = reader[Symbol.asyncIterator]();
    this.#codes = new CodesDecoder(reader, models);
    const model = within(name, () => models.codec(header));
    const spans = within(name, () => spansOf(header, model));
    this.#model = model;
    this.#spans = spans;
    this.#most = spans.some(({ nFrames }) => nFrames === null)
      ? null
      : spans.reduce((total, span) => total + (span.nFrames ?? 0n), 0n);
    /** Samples per channel; null if only the trailer will tell. @type {number | null} */
    this.nSamples =
      this.#most === null
        ? null
        : spans.reduce((total, span) => total + Number(span.nSamples), 0);
  }

  /**
   * Read the header of a file. Raises FormatError, ModelError.
   * @param {import("../ncx/source.js").Input} input
   * @param {Models} models
   * @param {string} [name] for errors
   */
  static async open(input, models, name = "<stream>") {
    return new Decoder(await Reader.open(input, name), models);
  }

  /**
   * Yield blocks of audio, a Float32Array for each channel.
   *
   * Raises FormatError for a damaged file, after all that comes before the damage.
   * @returns {AsyncGenerator<Float32Array[], void, void>}
   */
  async *blocks() {
    try {
      for (const span of this.#spans) {
        const window = new AudioWindow(this.nChannels, span, this.header.samplesPerFrame);
        if (span.nFrames !== 0n) yield* this.#play(span, window);
        yield* window.silence();
      }
      while (await this.#next()); // up to the trailer, if all is well
      this.#codes.finish();
    } finally {
      this.#codes.close();
    }
  }

  /**
   * Yield the audio of a span.
   * @param {Span} span
   * @param {AudioWindow} window
   */
  async *#play(span, window) {
    const { nStreams, nCodebooks: nQ } = this.header;
    const streams = Array.from(
      { length: nStreams },
      () => new SpectralDecoder(this.#model, span.firstFrame),
    );
    try {
      let n = 0n; // frames of the span
      while (span.nFrames === null || n < span.nFrames) {
        const packet = await this.#next();
        if (!packet) break;
        this.#check(packet, span, n);
        n += BigInt(packet.nFrames);
        const codes = this.#codes.decode(packet);
        const audio = streams.map((stream, s) =>
          stream.push(this.#model.latents(codes, s, nStreams, nQ), packet.scales[s], nQ),
        );
        if (!audio.every((channel) => channel.every(Number.isFinite))) {
          const place = placeOf(this.#reader, packet);
          throw new InvalidField(`${place}: its scales are beyond what audio holds`);
        }
        yield* window.take(audio);
      }
      window.end(this.#end(span, n));
      yield* window.take(streams.map((stream) => stream.finish(nQ)));
    } finally {
      for (const stream of streams) stream.close();
    }
  }

  /** Return the next packet, null after the last. Raises InvalidField for one too many. */
  async #next() {
    const { value: packet, done } = await this.#packets.next();
    if (done || !packet) return null;
    this.#nRead += BigInt(packet.nFrames);
    if (this.#most !== null && this.#nRead > this.#most) {
      const { nSamples } = this.header;
      const need = `${nSamples} samples need ${this.#most} frames`;
      const place = placeOf(this.#reader, packet);
      throw new InvalidField(`${place}: ${this.#nRead} frames so far, but ${need}`);
    }
    return packet;
  }

  /**
   * Raise FormatError for a packet that does not fit to its place or to the codec.
   * @param {Packet} packet
   * @param {Span} span
   * @param {bigint} before frames of the span
   */
  #check(packet, span, before) {
    const { header } = this;
    const place = placeOf(this.#reader, packet);
    const crosses = span.nFrames !== null && before + BigInt(packet.nFrames) > span.nFrames;
    if (crosses || (packet.dependent && before === 0n)) {
      throw new InvalidField(`${place}: is of more than one edit of the file`);
    }
    const limit = Math.round(MAX_PACKET_SECONDS * header.frameRateHz);
    if (packet.nFrames > limit) {
      const fault = `${packet.nFrames} frames, at most ${limit} are decoded at once`;
      throw new LimitExceeded(`${place}: ${fault}`);
    }
    if (packet.scales.length !== header.nStreams) {
      const wanted = `model '${header.modelId}' has ${header.nStreams}`;
      throw new InvalidField(`${place}: ${packet.scales.length} scales, ${wanted}`);
    }
  }

  /**
   * Return the samples of a span whose packets were all read. Raises InvalidField for another
   * number of frames than they need.
   * @param {Span} span
   * @param {bigint} n frames of the span
   */
  #end(span, n) {
    const { header, name } = this.#reader;
    const nSource = this.#reader.nSamples;
    let { nFrames, nSamples } = span;
    if (nFrames === null) {
      const whole = atRate(nSource ?? 0n, header.sourceSampleRateHz, header.sampleRateHz);
      nFrames = this.#model.nFrames(whole);
      nSamples = whole;
    }
    if (n !== nFrames) {
      const fault = `${nSource} samples need ${nFrames} frames, the packets hold ${n}`;
      throw new InvalidField(`${name}: ${fault}`);
    }
    return Number(nSamples);
  }
}

/**
 * Return a whole file: its header and its audio, a Float32Array for each channel.
 *
 * Raises FormatError, ModelError.
 * @param {import("../ncx/source.js").Input} input
 * @param {Models} models
 * @param {string} [name] for errors
 */
export async function decode(input, models, name) {
  const decoder = await Decoder.open(input, models, name);
  const { header, sampleRateHz, nChannels } = decoder;
  /** @type {Float32Array[][]} */
  const parts = Array.from({ length: nChannels }, () => []);
  for await (const block of decoder.blocks()) block.forEach((part, c) => parts[c].push(part));
  return { header, sampleRateHz, channels: parts.map(joined) };
}
