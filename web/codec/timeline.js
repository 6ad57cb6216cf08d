/**
 * What the edits of a file make audible, at the codec's rate (NCX.md, section 3).
 *
 * Frames and samples are bigints: those of a run may be any number.
 */
import { MAX_SILENCE, totalSamples } from "../ncx/edits.js";
import { InvalidField, LimitExceeded } from "../ncx/errors.js";

const MAX_FRAME = 1n << 48n; // of a run: a place that no codec computes wrong

/**
 * @typedef {object} Span
 * @property {bigint} firstFrame in its run
 * @property {bigint | null} nFrames of the file; null: to its end
 * @property {bigint} skip samples before the first audible one, from the first frame's on
 * @property {bigint | null} nSamples that are audible; null: only the trailer will tell
 */

/**
 * Return a number of samples at another rate, halves rounded up.
 * @param {bigint} nSamples
 * @param {number} fromHz
 * @param {number} toHz
 */
export function atRate(nSamples, fromHz, toHz) {
  const [from, to] = [BigInt(fromHz), BigInt(toHz)];
  return (2n * nSamples * to + from) / (2n * from);
}

/**
 * Return what a file plays. Raises InvalidField or LimitExceeded for what cannot be played.
 * @param {import("../ncx/header.js").Header} header
 * @param {import("./spectral.js").SpectralModel} model
 * @param {bigint | null} nSamples of the source; null: only the trailer will tell
 * @returns {Span[]}
 */
export function spansOf(header, model, nSamples) {
  const { edits, sourceSampleRateHz, sampleRateHz } = header;
  const at = (/** @type {bigint} */ n) => atRate(n, sourceSampleRateHz, sampleRateHz);
  if (!edits.length) {
    if (nSamples === 0n) return [];
    const whole = nSamples === null ? null : at(nSamples);
    const nFrames = whole === null ? null : model.nFrames(whole);
    return [{ firstFrame: 0n, nFrames, skip: 0n, nSamples: whole }];
  }
  const silence = totalSamples(edits.filter((edit) => !edit.nFrames));
  if (at(silence) > MAX_SILENCE) {
    const fault = `${silence} samples of silence are more than ${MAX_SILENCE}`;
    throw new LimitExceeded(`header: edit list: ${fault} at ${sampleRateHz} Hz`);
  }
  const hop = BigInt(header.samplesPerFrame);
  return edits.map((edit) => {
    const { firstFrame, nFrames, firstSample } = edit;
    const end = firstSample + edit.nSamples;
    if (nFrames) checkEdit(edit, end, model, at, hop);
    const start = at(firstSample);
    const skip = nFrames ? start - firstFrame * hop : 0n;
    return { firstFrame, nFrames, skip, nSamples: at(end) - start };
  });
}

/**
 * Return the part of a span from one of its audible samples on, with the frames before it that warm
 * a decoder up; and how many frames were left out.
 * @param {Span} span
 * @param {number} sample of the audible ones
 * @param {import("./spectral.js").SpectralModel} model
 * @returns {[Span, bigint]}
 */
export function partOf(span, sample, model) {
  const { firstFrame, nFrames, nSamples } = span;
  const hop = BigInt(model.sizes.samples_per_frame);
  const start = span.skip + BigInt(sample); // from the first frame's own first sample on
  const ahead = nFrames === 0n ? 0n : start / hop - BigInt(model.warmupFrames);
  const left = ahead > 0n ? ahead : 0n;
  const part = {
    firstFrame: firstFrame + left,
    nFrames: nFrames === null ? null : nFrames - left,
    skip: start - left * hop,
    nSamples: nSamples === null ? null : nSamples - BigInt(sample),
  };
  return [nFrames === 0n ? { ...part, skip: 0n } : part, left];
}

/**
 * Raise InvalidField or LimitExceeded for an edit that starts or ends where none can.
 * @param {import("../ncx/edits.js").Edit} edit
 * @param {bigint} end of its samples
 * @param {import("./spectral.js").SpectralModel} model
 * @param {(n: bigint) => bigint} at the codec's rate
 * @param {bigint} hop
 */
function checkEdit({ firstFrame, nFrames, firstSample }, end, model, at, hop) {
  const endFrame = firstFrame + nFrames;
  if (endFrame > MAX_FRAME) {
    throw new LimitExceeded(`header: frame ${endFrame}, at most ${MAX_FRAME}`);
  }
  if (at(firstSample) + 1n < firstFrame * hop) {
    const fault = `frame ${firstFrame} is no place to start from for sample ${firstSample}`;
    throw new InvalidField(`header: edit list: ${fault}`);
  }
  const wanted = model.nFrames(at(end));
  if (endFrame < wanted) {
    const fault = `${end} samples need ${wanted} frames, an edit ends with frame ${endFrame}`;
    throw new InvalidField(`header: edit list: ${fault}`);
  }
}
