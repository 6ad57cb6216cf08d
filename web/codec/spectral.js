/**
 * The decoder of the architecture `spectral` (formats/SPECTRAL.md).
 *
 * Shapes: F frames, N bins (= samples a frame), D latent, W width, Q codebooks, K codes, S streams;
 * + for rows that the kernel pads.
 */
import { ModelInvalid } from "../ncx/errors.js";
import { Matrix, padded, Stack } from "./kernel.js";
import { mdctBasis, noisePlace, noiseTable } from "./mdct.js";
import { Tensor } from "./safetensors.js";

/** @typedef {import("./kernel.js").Kernel} Kernel */
/** @typedef {import("./safetensors.js").ModelFile} ModelFile */

const LEVEL = 0.1; // RMS that chunks were brought to
const LOUDEST = 4; // limit of the natural logarithm of a bin's noise power
const MOST_BASIS = 1 << 26; // floats of the MDCT's basis: what a model may ask for
const FRAMES_AT_ONCE = 256; // bounds the memory for rows
const FLOATS = ["F32", "F16", "BF16"];
const ACTIVATIONS = ["gelu", "relu2"]; // by their numbers in networks.h

/** Sizes of a model file, and their limits. @type {Record<string, [number, number]>} */
const LIMITS = {
  sample_rate_hz: [1, 1_000_000],
  samples_per_frame: [1, 1 << 14],
  n_codebooks: [1, 128],
  codebook_size: [2, 1 << 15],
  latent: [1, 1 << 14],
  width: [1, 1 << 13],
  decoder_blocks: [1, 256],
  kernel: [1, 1 << 10],
  expansion: [1, 8],
  lookahead_frames: [0, 1 << 10],
};

/** A model's decoder, in the kernel's memory until the page ends. */
export class SpectralModel {
  /**
   * Raises ModelInvalid for sizes that are not possible, and tensors that do not fit them.
   * @param {Kernel} kernel
   * @param {ModelFile} file
   */
  constructor(kernel, file) {
    const sizes = checkedSizes(file);
    const { samples_per_frame: nBins, latent, width, n_codebooks: nQ, codebook_size: size } = sizes;
    this.kernel = kernel;
    this.sizes = sizes;
    this.codebooks = file.tensor("quantiser.codebooks", [nQ, size, latent], FLOATS).floats();
    /** @type {(name: string, nOut: number, nIn: number) => Matrix} */
    const matrix = (name, nOut, nIn) =>
      new Matrix(
        kernel,
        file.tensor(`${name}.weight`, [nOut, nIn], FLOATS),
        file.tensor(`${name}.bias`, [nOut], FLOATS),
      );
    this.first = matrix("decoder_in", width, latent);
    this.last = matrix("decoder_out", 2 * nBins, width);
    this.skip = matrix("decoder_skip", 2 * nBins, latent);
    this.blocks = makeStack(kernel, file, sizes);
    this.synthesis = new Matrix(kernel, Tensor.of(mdctBasis(nBins), [2 * nBins, nBins]));
    this.noise = noiseTable();
    const { decoder_blocks: nBlocks } = sizes;
    this.rates = file.config.rate_conditioned
      ? file.tensor("decoder_rates", [nQ, nBlocks, 2, width], FLOATS).floats()
      : null;
  }

  /** Frames after which a decoder that started in the middle is as one that came from before. */
  get warmupFrames() {
    const { decoder_blocks: nBlocks, kernel, lookahead_frames: lookahead } = this.sizes;
    return nBlocks * (kernel - 1) + 1 + lookahead;
  }

  /**
   * Return how many frames so many samples are coded in: every sample lies in two.
   * @param {bigint} nSamples at the codec's rate
   */
  nFrames(nSamples) {
    const hop = BigInt(this.sizes.samples_per_frame);
    return nSamples ? (nSamples + hop - 1n) / hop + 1n : 0n;
  }

  /**
   * Return the sum of the codes' vectors.
   * @param {Int32Array} codes [F, S, Q]
   * @param {number} stream
   * @param {number} nStreams
   * @param {number} nQ
   * @returns {Float32Array} [F, D]
   */
  latents(codes, stream, nStreams, nQ) {
    const { latent, codebook_size: size } = this.sizes;
    const nFrames = codes.length / (nStreams * nQ);
    const found = new Float32Array(nFrames * latent);
    for (let frame = 0; frame < nFrames; frame++) {
      const row = found.subarray(frame * latent, (frame + 1) * latent);
      for (let q = 0; q < nQ; q++) {
        const code = codes[(frame * nStreams + stream) * nQ + q];
        const at = (q * size + code) * latent;
        for (let d = 0; d < latent; d++) row[d] += this.codebooks[at + d];
      }
    }
    return found;
  }

  /**
   * Return what the blocks are conditioned on, [blocks, 2, W+], in the kernel; 0 for nothing.
   * @param {number} nQ
   */
  condition(nQ) {
    if (!this.rates) return 0;
    const { width, decoder_blocks: nBlocks } = this.sizes;
    const rows = new Float32Array(2 * nBlocks * padded(width));
    for (let row = 0; row < 2 * nBlocks; row++) {
      const at = ((nQ - 1) * 2 * nBlocks + row) * width;
      rows.set(this.rates.subarray(at, at + width), row * padded(width));
    }
    return this.kernel.place(new Uint8Array(rows.buffer));
  }
}

/** @param {ModelFile} file */
function checkedSizes(file) {
  /** @type {Record<string, number>} */
  const sizes = {};
  for (const [name, [low, high]] of Object.entries(LIMITS)) {
    sizes[name] = file.size(name, low, high);
  }
  const fail = (/** @type {string} */ fault) => {
    throw new ModelInvalid(`${file.name}: ${fault}`);
  };
  if (file.about.architecture !== "spectral") fail(`architecture ${file.about.architecture}`);
  if (file.config.n_channels !== 1) fail(`${file.config.n_channels} channels, expected 1`);
  sizes.activation = ACTIVATIONS.indexOf(file.config.activation ?? "gelu");
  if (sizes.activation < 0) fail(`activation ${file.config.activation} is unknown`);
  if (2 * sizes.samples_per_frame ** 2 > MOST_BASIS) {
    fail(`${sizes.samples_per_frame} samples a frame are more than this decoder has memory for`);
  }
  return sizes;
}

/**
 * @param {Kernel} kernel
 * @param {ModelFile} file
 * @param {Record<string, number>} sizes
 */
function makeStack(kernel, file, sizes) {
  const { width, kernel: taps, expansion } = sizes;
  const hidden = expansion * width;
  /** @type {[string, number[]][]} */
  const ofBlock = [
    ["depthwise", [width, 1, taps]],
    ["depthwise_bias", [width]],
    ["norm.weight", [width]],
    ["norm.bias", [width]],
    ["expand.weight", [hidden, width]],
    ["expand.bias", [hidden]],
    ["project.weight", [width, hidden]],
    ["project.bias", [width]],
    ["scale", [width]],
  ];
  const tensors = [];
  for (let block = 0; block < sizes.decoder_blocks; block++) {
    for (const [name, shape] of ofBlock) {
      tensors.push(file.tensor(`decoder.blocks.${block}.${name}`, shape, FLOATS));
    }
  }
  for (const name of ["weight", "bias"]) {
    tensors.push(file.tensor(`decoder.norm.${name}`, [width], FLOATS));
  }
  const { decoder_blocks: nBlocks, activation } = sizes;
  return new Stack(kernel, { width, nBlocks, kernel: taps, hidden, activation }, tensors);
}

/** One stream on its way to audio, from some frame on. */
export class SpectralDecoder {
  #model;
  #past; // of the blocks, in the kernel
  #waiting = new Float32Array(0); // [<= lookahead, D] latents whose frame has not been made yet
  /** @type {number[]} */
  #scales = []; // of these frames
  #overlap; // [N] second half of the last frame
  #nextFrame;
  #skipFrames; // outputs to drop: the blocks are still ahead of the first frame
  #skipHop = true; // the first hop has no neighbour before it

  /**
   * @param {SpectralModel} model
   * @param {bigint} firstFrame
   */
  constructor(model, firstFrame) {
    const { kernel, blocks, sizes } = model;
    this.#model = model;
    this.#past = kernel.place(new Uint8Array(4 * blocks.pastSize));
    this.#overlap = new Float32Array(sizes.samples_per_frame);
    this.#nextFrame = firstFrame;
    this.#skipFrames = sizes.lookahead_frames;
  }

  /** Give the memory back. */
  close() {
    this.#model.kernel.release(this.#past);
  }

  /**
   * Return the samples that become known with frames of one scale.
   * @param {Float32Array} latents [F, D]
   * @param {number} scale
   * @param {number} nQ codebooks that they are of
   */
  push(latents, scale, nQ) {
    const { latent } = this.#model.sizes;
    const nFrames = latents.length / latent;
    const parts = [];
    for (let first = 0; first < nFrames; first += FRAMES_AT_ONCE) {
      const end = Math.min(nFrames, first + FRAMES_AT_ONCE);
      const some = latents.subarray(first * latent, end * latent);
      for (let i = first; i < end; i++) this.#scales.push(scale);
      parts.push(this.#decode(some, joined([this.#waiting, some]), nQ));
    }
    return joined(parts);
  }

  /**
   * Return what is left: the frames that waited for later ones, which are zeros.
   * @param {number} nQ
   */
  finish(nQ) {
    const { latent, lookahead_frames: lookahead } = this.#model.sizes;
    if (!this.#waiting.length) return new Float32Array(0);
    return this.#decode(new Float32Array(lookahead * latent), this.#waiting, nQ);
  }

  /**
   * @param {Float32Array} fresh [F, D] latents that the blocks see next
   * @param {Float32Array} ready [F', D] latents of the frames that come out next
   * @param {number} nQ
   */
  #decode(fresh, ready, nQ) {
    const { latent, samples_per_frame: nBins } = this.#model.sizes;
    const nFresh = fresh.length / latent;
    const dropped = Math.min(this.#skipFrames, nFresh);
    const nMade = nFresh - dropped;
    this.#skipFrames -= dropped;
    this.#waiting = ready.slice(nMade * latent);
    const bins = this.#bins(fresh, ready, dropped, nQ);
    this.#fill(bins, nMade);
    this.#nextFrame += BigInt(nMade);
    const { kernel, synthesis } = this.#model;
    const from = kernel.place(new Uint8Array(bins.roots.buffer, 0, 4 * nMade * nBins));
    const to = kernel.room(4 * nMade * synthesis.nOut);
    synthesis.product(from, nBins, nMade, to);
    const samples = this.#overlapped(kernel.floats(to, nMade * synthesis.nOut), nMade);
    kernel.release(from, to);
    return samples;
  }

  /**
   * Return the roots [F, N] of bins, and the levels [F, N] of their noise.
   * @param {Float32Array} fresh
   * @param {Float32Array} ready
   * @param {number} dropped frames of the blocks' output
   * @param {number} nQ
   */
  #bins(fresh, ready, dropped, nQ) {
    const { kernel, first, blocks, last, skip, sizes } = this.#model;
    const { latent, samples_per_frame: nBins, width } = sizes;
    const nFresh = fresh.length / latent;
    const nMade = nFresh - dropped;
    const bytes = (/** @type {Float32Array} */ rows) =>
      new Uint8Array(rows.buffer, rows.byteOffset, rows.byteLength);
    const condition = this.#model.condition(nQ);
    const latents = kernel.place(bytes(fresh));
    const skipped = kernel.place(bytes(ready.subarray(0, nMade * latent)));
    const rows = kernel.room(4 * nFresh * first.nOut);
    const hidden = kernel.room(4 * nFresh * first.nOut);
    const main = kernel.room(4 * nMade * last.nOut);
    const side = kernel.room(4 * nMade * last.nOut);
    first.product(latents, latent, nFresh, rows);
    blocks.run(condition, this.#past, rows, nFresh, hidden);
    last.product(hidden + 4 * dropped * padded(width), padded(width), nMade, main);
    skip.product(skipped, latent, nMade, side);
    const [one, other] = [main, side].map((at) => kernel.floats(at, nMade * last.nOut));
    const roots = new Float32Array(nMade * nBins);
    const levels = new Float32Array(nMade * nBins);
    for (let frame = 0; frame < nMade; frame++) {
      for (let k = 0, at = frame * last.nOut, to = frame * nBins; k < nBins; k++, at++, to++) {
        roots[to] = one[at] + other[at];
        levels[to] = one[at + nBins] + other[at + nBins];
      }
    }
    kernel.release(latents, skipped, rows, hidden, main, side);
    if (condition) kernel.release(condition);
    return { roots, levels };
  }

  /**
   * Turn roots into the coefficients of the MDCT: squared, with noise, at the frame's level.
   * @param {{roots: Float32Array, levels: Float32Array}} bins
   * @param {number} nMade
   */
  #fill({ roots, levels }, nMade) {
    const { noise, sizes } = this.#model;
    const { samples_per_frame: nBins } = sizes;
    const mask = noise.length - 1;
    const scales = this.#scales.splice(0, nMade);
    for (let frame = 0, at = 0; frame < nMade; frame++) {
      const gain = Math.fround(scales[frame] / Math.fround(LEVEL));
      const place = noisePlace(this.#nextFrame + BigInt(frame));
      for (let k = 0; k < nBins; k++, at++) {
        const amplitude = Math.exp(Math.min(levels[at], LOUDEST) / 2);
        const root = roots[at];
        roots[at] = (Math.abs(root) * root + amplitude * noise[(place + k) & mask]) * gain;
      }
    }
  }

  /**
   * Overlap-add frames, [F, 2N+], onto the second half of the frame before.
   * @param {Float32Array} halves
   * @param {number} nMade
   */
  #overlapped(halves, nMade) {
    const { samples_per_frame: hop } = this.#model.sizes;
    const step = this.#model.synthesis.nOut;
    const samples = new Float32Array(nMade * hop);
    for (let frame = 0; frame < nMade; frame++) {
      const at = frame * step;
      for (let i = 0; i < hop; i++) {
        samples[frame * hop + i] = this.#overlap[i] + halves[at + i];
        this.#overlap[i] = halves[at + hop + i];
      }
    }
    const start = this.#skipHop && nMade ? hop : 0;
    if (nMade) this.#skipHop = false;
    return samples.subarray(start);
  }
}

/**
 * Join arrays end to end.
 * @param {Float32Array[]} parts
 */
export function joined(parts) {
  if (parts.length === 1) return parts[0];
  const whole = new Float32Array(parts.reduce((total, part) => total + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
