/** What a file was cut out of or put together from (NCX.md, section 3). */
import { InvalidField, LimitExceeded } from "./errors.js";
import { unpackVarint } from "./varints.js";

export const MAX_SILENCE = 1n << 31n; // samples of all edits: bounds what a few bytes can ask for

/**
 * Samples of what one run of a codec stands for, or silence. Frames and samples are counted in the
 * run; samples are the source's.
 * @typedef {object} Edit
 * @property {bigint} firstFrame of those that the file holds
 * @property {bigint} nFrames 0: silence
 * @property {bigint} firstSample that is audible
 * @property {bigint} nSamples
 */

/**
 * Return the edits of an extension's content. Raises InvalidField or LimitExceeded.
 * @param {Uint8Array} content
 * @returns {Edit[]}
 */
export function parseEdits(content) {
  /** @type {bigint[]} */
  const numbers = [];
  for (let at = 0; at < content.length; ) {
    const [value, end] = unpackVarint(content, at, "edit list");
    numbers.push(value);
    at = end;
  }
  if (!numbers.length || numbers.length % 4) {
    const fault = `${numbers.length} numbers, expected four for each edit`;
    throw new InvalidField(`edit list: ${fault}`);
  }
  /** @type {Edit[]} */
  const edits = [];
  for (let i = 0; i < numbers.length; i += 4) {
    const [firstFrame, nFrames, firstSample, nSamples] = numbers.slice(i, i + 4);
    edits.push({ firstFrame, nFrames, firstSample, nSamples });
  }
  check(edits);
  return edits;
}

/** @param {Edit[]} edits */
function check(edits) {
  edits.forEach((edit, number) => {
    if (!edit.nSamples) throw new InvalidField(`edit list: edit ${number} has no samples`);
    if (!edit.nFrames && (edit.firstFrame || edit.firstSample)) {
      throw new InvalidField(`edit list: edit ${number} is silence, but has a place in a run`);
    }
  });
  const silence = totalSamples(edits.filter((edit) => !edit.nFrames));
  if (silence > MAX_SILENCE) {
    const fault = `${silence} samples of silence, at most ${MAX_SILENCE}`;
    throw new LimitExceeded(`edit list: ${fault}`);
  }
}

/**
 * Return the samples of all edits.
 * @param {Edit[]} edits
 */
export function totalSamples(edits) {
  return edits.reduce((total, edit) => total + edit.nSamples, 0n);
}
