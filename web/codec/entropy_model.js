/** The integer transformer's model file, as PAYLOADS.md, section 4, bounds it. */
import { ModelInvalid } from "../ncx/errors.js";

const LIMIT = 127; // of 8-bit activations and weights
const EXACT = 1 << 24; // whole numbers up to here are exact in binary32
const MASKED = 1 << 22;
const SCORE_BITS = 10;

/** Sizes in the order of kernel.h, and what they may be at most. @type {[string, number][]} */
const SIZES = [
  ["n_codebooks", 128],
  ["codebook_size", 4096],
  ["width", 512],
  ["n_layers", 64],
  ["n_heads", 512],
  ["window", 256],
  ["hidden", EXACT],
  ["head_hidden", EXACT],
];

/** A model in the kernel's memory until the page ends; any number of contexts may use it. */
export class EntropyModel {
  /**
   * Raises ModelInvalid for a file whose sums could leave what binary32 holds.
   * @param {import("./kernel.js").Kernel} kernel
   * @param {import("./safetensors.js").ModelFile} file
   */
  constructor(kernel, file) {
    const sizes = checkedSizes(file);
    const tensors = tensorsOf(file, sizes);
    [this.nCodebooks, this.codebookSize] = [sizes.n_codebooks, sizes.codebook_size];
    const numbers = Int32Array.from(SIZES, ([name]) => sizes[name]);
    const shape = kernel.place(new Uint8Array(numbers.buffer));
    const total = tensors.reduce((sum, { bytes }) => sum + bytes.length, 0);
    if (kernel.calls.model_bytes(shape) !== total) {
      throw new ModelInvalid(`${file.name}: entropy model: sizes that are not possible`);
    }
    const whole = new Uint8Array(total);
    let at = 0;
    for (const { bytes } of tensors) {
      whole.set(bytes, at);
      at += bytes.length;
    }
    const place = kernel.place(whole);
    this.handle = kernel.made(kernel.calls.model_new(shape, place), "the entropy model");
    kernel.release(place, shape);
  }
}

/** @param {import("./safetensors.js").ModelFile} file */
function checkedSizes(file) {
  /** @type {Record<string, number>} */
  const sizes = Object.fromEntries(SIZES.map(([name, most]) => [name, file.size(name, 1, most)]));
  const expect = expectation(file);
  expect(sizes.codebook_size > 1, "codebook_size is 1");
  const { width, n_heads: nHeads } = sizes;
  expect(width % nHeads === 0, `${width} units cannot be shared by ${nHeads} heads`);
  expect(mostDistance(sizes) >= 0, `${width / nHeads} units a head leave no room to mask scores`);
  return sizes;
}

/** @param {Record<string, number>} sizes */
function mostDistance(sizes) {
  const headWidth = sizes.width / sizes.n_heads;
  return MASKED - 2 * LIMIT ** 2 * headWidth - (9 << SCORE_BITS);
}

/** @param {import("./safetensors.js").ModelFile} file */
function expectation(file) {
  return (/** @type {boolean} */ holds, /** @type {string} */ fault) => {
    if (!holds) throw new ModelInvalid(`${file.name}: entropy model: ${fault}`);
  };
}

/**
 * Names, shapes and largest magnitudes of the tensors, in the kernel's order.
 * @param {Record<string, number>} sizes
 * @returns {{name: string, shape: number[], most: number, kind: "matrix" | "vectors" | "wide"}[]}
 */
function layout(sizes) {
  const { n_codebooks: q, codebook_size: k, width: d, hidden: m, head_hidden: p } = sizes;
  const distance = mostDistance(sizes);
  /** @type {(name: string, ...shape: number[]) => any} */
  const matrix = (name, ...shape) => ({ name, shape, most: LIMIT, kind: "matrix" });
  /** @type {(name: string, most: number, ...shape: number[]) => any} */
  const wide = (name, most, ...shape) => ({ name, shape, most, kind: "wide" });
  const layers = Array.from({ length: sizes.n_layers }, (_, number) => [
    matrix(`layers.${number}.attend`, 3 * d, d),
    wide(`layers.${number}.distance`, distance, sizes.n_heads, sizes.window),
    matrix(`layers.${number}.gather`, d, d),
    matrix(`layers.${number}.up`, m, d),
    matrix(`layers.${number}.down`, d, m),
  ]);
  return [
    { name: "vectors", shape: [q, k, d], most: LIMIT, kind: "vectors" },
    wide("start", 32767, q, d),
    ...layers.flat(),
    matrix("frame", d, d),
    matrix("heads.up", q, p, d),
    matrix("heads.out", q, k, p),
    wide("heads.bias", 2 ** 31, q, k),
  ];
}

/**
 * Return all tensors in the kernel's order, each matrix followed by its shifts.
 * @param {import("./safetensors.js").ModelFile} file
 * @param {Record<string, number>} sizes
 */
function tensorsOf(file, sizes) {
  const expect = expectation(file);
  const bias = file.tensor("heads.bias", [sizes.n_codebooks, sizes.codebook_size], ["I32"]);
  const mostBias = mostOf(bias.integers());
  const found = [];
  for (const { name, shape, most, kind } of layout(sizes)) {
    const tensor = file.tensor(name, shape, [kind === "wide" ? "I32" : "I8"]);
    const numbers = tensor.integers();
    const held = mostOf(numbers);
    expect(held <= most, `${name} holds ${held}, at most ${most} is possible`);
    found.push(tensor);
    if (kind === "wide") continue;
    const ofCodebook = name === "heads.out" || kind === "vectors";
    const rows = ofCodebook ? shape.slice(0, 1) : shape.slice(0, -1);
    const shifts = file.tensor(`${name}.shift`, rows, ["I8"]);
    const limit = kind === "vectors" ? 8 : 20;
    const odd = shifts.integers().some((shift) => shift < 0 || shift > limit);
    expect(!odd, `${name}.shift is not within 0 to ${limit}`);
    found.push(shifts);
    if (kind === "vectors") continue;
    let sum = mostOfRows(numbers, shape[shape.length - 1]) * LIMIT;
    if (name === "heads.out") sum = 2 * (sum + mostBias); // the difference of two logits
    expect(sum < EXACT, `${name}: a sum can reach ${sum}, the limit is ${EXACT}`);
  }
  expect(found.length === file.tensors.size, "tensors that are unknown");
  return found;
}

/** @param {Int8Array | Int32Array} numbers */
function mostOf(numbers) {
  let [low, high] = [0, 0];
  for (let i = 0; i < numbers.length; i++) {
    if (numbers[i] < low) low = numbers[i];
    if (numbers[i] > high) high = numbers[i];
  }
  return Math.max(-low, high);
}

/**
 * @param {Int8Array | Int32Array} numbers
 * @param {number} length of a row
 */
function mostOfRows(numbers, length) {
  let most = 0;
  for (let row = 0; row < numbers.length; row += length) {
    let sum = 0;
    for (let i = row; i < row + length; i++) sum += Math.abs(numbers[i]);
    most = Math.max(most, sum);
  }
  return most;
}
