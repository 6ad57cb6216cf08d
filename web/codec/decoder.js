/** The way back: packets to codes, and codes to audio at the codec's rate. */
import { DigestMismatch, InvalidField, LimitExceeded, NcodecError } from "../ncx/errors.js";
import { Reader } from "../ncx/reader.js";
import { Sha256 } from "../ncx/sha256.js";
import { hex } from "../ncx/text.js";
import { InOrder } from "./access.js";
import { AudioWindow } from "./audio_window.js";
import { joined, SpectralDecoder } from "./spectral.js";
import { atRate, partOf, spansOf } from "./timeline.js";

/** @typedef {import("./models.js").Models} Models */
/** @typedef {import("./timeline.js").Span} Span */
/** @typedef {import("../ncx/packets.js").Packet} Packet */
/** @typedef {import("./access.js").Packets} Packets */

const MOST_VALUES = 1 << 20; // of copied channels that come at once
const MAX_PACKET_SECONDS = 40; // that are decoded at once: bounds the memory a file can ask for
/**
 * What is played of a span.
 * @typedef {object} Place
 * @property {Span} span
 * @property {Span} part of it
 * @property {bigint} start the span's first frame in the file
 * @property {bigint} left frames of the span that are left out
 * @property {number} low audible samples of the span that are left out
 */

const FIRST_PIECE = 32; // frames that become audio at once: few at first, so that sound comes soon
const MOST_PIECE = 256;

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
 * @param {{name: string}} reader
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
   * @param {Reader | Packets} reader
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
  #packets;
  #model;
  #codes;
  #spans;
  #most; // frames that the samples need; null: only the trailer will tell

  /**
   * @param {Packets} packets
   * @param {Models} models
   */
  constructor(packets, models) {
    const { header, name } = packets;
    this.header = header;
    this.sampleRateHz = header.sampleRateHz;
    this.nChannels = header.nOutputChannels;
    this.#packets = packets;
    this.#codes = new CodesDecoder(packets, models);
    const model = within(name, () => models.codec(header));
    const spans = within(name, () => spansOf(header, model, packets.nSamples));
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
    return new Decoder(new InOrder(await Reader.open(input, name)), models);
  }

  /**
   * Yield blocks of audio, a Float32Array for each channel; once for each decoder.
   *
   * Raises FormatError for a damaged file, after all that comes before the damage; of one that is
   * not decoded from its start, only for damage that is met.
   * @param {number} [start] the first sample that is wanted
   * @returns {AsyncGenerator<Float32Array[], void, void>}
   */
  async *blocks(start = 0) {
    let frame = 0n; // of the file
    let sample = 0;
    let packets = null;
    try {
      for (const span of this.#spans) {
        const low = Math.max(0, start - sample);
        sample += Number(span.nSamples);
        if (!low || span.nSamples === null || start < sample) {
          const [part, left] = low ? partOf(span, low, this.#model) : [span, 0n];
          packets ??= this.#from(frame + left);
          const window = new AudioWindow(this.header.nChannels, part, this.header.samplesPerFrame);
          if (span.nFrames !== 0n) {
            const place = { span, part, start: frame, left, low };
            for await (const block of this.#play(packets, place, window)) yield* this.#copied(block);
          }
          for (const block of window.silence()) yield* this.#copied(block);
        }
        frame += span.nFrames ?? 0n;
      }
      if (start > 0) return;
      packets ??= this.#from(0n);
      while (!(await packets.next()).done); // up to the trailer, if all is well
      this.#codes.finish();
    } finally {
      this.#codes.close();
    }
  }

  /**
   * Yield all channels of the output, of which one may be coded: each an array of its own.
   * @param {Float32Array[]} block
   */
  *#copied(block) {
    if (this.nChannels === block.length) {
      yield block;
      return;
    }
    const [channel] = block;
    const n = Math.floor(MOST_VALUES / this.nChannels);
    for (let at = 0; at < channel.length; at += n) {
      yield Array.from({ length: this.nChannels }, () => channel.slice(at, at + n));
    }
  }

  /**
   * Yield the audio of a part of a span.
   * @param {AsyncGenerator<[bigint, Packet], void, void>} packets
   * @param {Place} place
   * @param {AudioWindow} window
   */
  async *#play(packets, place, window) {
    const { nCodebooks: nQ, nStreams } = this.header;
    const { span, part, start } = place;
    const streams = Array.from(
      { length: nStreams },
      () => new SpectralDecoder(this.#model, part.firstFrame),
    );
    let n = 0n; // frames of the span
    let most = FIRST_PIECE;
    try {
      while (span.nFrames === null || n < span.nFrames) {
        const { value, done } = await packets.next();
        if (done || !value) break;
        const [frame, packet] = value;
        this.#check(packet, span, frame - start);
        n = frame - start + BigInt(packet.nFrames);
        const codes = this.#codes.decode(packet);
        let first = Math.max(0, Number(place.left + start - frame));
        for (; first < packet.nFrames; first += most, most = Math.min(2 * most, MOST_PIECE)) {
          const end = Math.min(packet.nFrames, first + most);
          yield* window.take(this.#synthesise(streams, packet, codes, first, end));
        }
      }
      window.end(this.#end(span, n) - place.low);
      yield* window.take(streams.map((stream) => stream.finish(nQ)));
    } finally {
      for (const stream of streams) stream.close();
    }
  }

  /**
   * Return the audio that becomes known with some frames of a packet. Raises InvalidField where it
   * is not finite.
   * @param {SpectralDecoder[]} streams
   * @param {Packet} packet
   * @param {Int32Array} codes
   * @param {number} first
   * @param {number} end
   */
  #synthesise(streams, packet, codes, first, end) {
    const { nStreams, nCodebooks: nQ, codesPerFrame } = this.header;
    const some = codes.subarray(first * codesPerFrame, end * codesPerFrame);
    const audio = streams.map((stream, s) =>
      stream.push(this.#model.latents(some, s, nStreams, nQ), packet.scales[s], nQ),
    );
    if (audio.every((channel) => channel.every(Number.isFinite))) return audio;
    const place = placeOf(this.#packets, packet);
    throw new InvalidField(`${place}: its scales are beyond what audio holds`);
  }

  /**
   * Yield the packets from a frame on. Raises InvalidField for one too many.
   * @param {bigint} start
   */
  async *#from(start) {
    for await (const [frame, packet] of this.#packets.from(start)) {
      const n = frame + BigInt(packet.nFrames);
      if (this.#most !== null && n > this.#most) {
        const { nSamples } = this.#packets;
        const need = `${nSamples} samples need ${this.#most} frames`;
        const place = placeOf(this.#packets, packet);
        throw new InvalidField(`${place}: ${n} frames so far, but ${need}`);
      }
      yield /** @type {[bigint, Packet]} */ ([frame, packet]);
    }
  }

  /**
   * Raise FormatError for a packet that does not fit to its place or to the codec.
   * @param {Packet} packet
   * @param {Span} span
   * @param {bigint} before frames of the span; negative: the packet is of an edit before
   */
  #check(packet, span, before) {
    const { header } = this;
    const place = placeOf(this.#packets, packet);
    const crosses = span.nFrames !== null && before + BigInt(packet.nFrames) > span.nFrames;
    if (crosses || before < 0n || (packet.dependent && before === 0n)) {
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
    const { header, name } = this.#packets;
    const nSource = this.#packets.nSamples;
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
