/** The models that a decoder has, found by what headers say. */
import { InvalidField, ModelMismatch, ModelMissing, UnsupportedVersion } from "../ncx/errors.js";
import { ADAPTIVE, MIXED, TRANSFORMER } from "../ncx/header.js";
import { REQUIRED_CODEC_PARAMETERS } from "../ncx/tags.js";
import { hex } from "../ncx/text.js";
import { adaptiveCoder, mixedCoder, PackedCoder, transformerCoder } from "./coders.js";
import { EntropyModel } from "./entropy_model.js";
import { CODEC, ENTROPY, ModelFile } from "./safetensors.js";
import { SpectralModel } from "./spectral.js";

/** @typedef {import("../ncx/header.js").Header} Header */

const SPECTRAL = 1;

/** Model files, and what the kernel made of those that were needed. */
export class Models {
  /** @type {ModelFile[]} */
  #files = [];
  /** @type {Map<ModelFile, any>} */
  #made = new Map();

  /** @param {import("./kernel.js").Kernel} kernel */
  constructor(kernel) {
    this.kernel = kernel;
  }

  /**
   * Add a .safetensors file, of a codec or of an entropy model. Raises ModelInvalid.
   * @param {Uint8Array | Response | Promise<Response>} file
   * @param {string} [name] for errors
   */
  async add(file, name = "model") {
    const there = await file;
    const bytes = there instanceof Response ? new Uint8Array(await there.arrayBuffer()) : there;
    this.#files.push(await ModelFile.read(bytes, name));
    return this;
  }

  /**
   * Return the codec that a file was made with. Raises ModelMissing, ModelMismatch, ModelInvalid,
   * UnsupportedVersion, and InvalidField where the header contradicts it.
   * @param {Header} header
   * @returns {SpectralModel}
   */
  codec(header) {
    const fingerprint = hex(header.modelFingerprint);
    const file = this.#find(CODEC, "model", header.modelId, fingerprint);
    if (header.extension(REQUIRED_CODEC_PARAMETERS)) {
      const fault = "required codec parameters that this version does not know";
      throw new UnsupportedVersion(`header: ${fault}`);
    }
    const model = this.#make(file, SpectralModel);
    const fault = headerFault(header, model.sizes);
    if (fault) throw new InvalidField(`header: ${fault}`);
    return model;
  }

  /**
   * Return a fresh entropy coder, as a header asks for. Raises LimitExceeded, ModelMissing,
   * ModelMismatch, ModelInvalid, and InvalidField for sizes that the model does not have.
   * @param {Header} header
   */
  coder(header) {
    if (header.entropy === ADAPTIVE) return adaptiveCoder(this.kernel, header);
    if (header.entropy === MIXED) return mixedCoder(this.kernel, header);
    if (header.entropy !== TRANSFORMER) return new PackedCoder(header);
    const fingerprint = hex(header.entropyFingerprint);
    const file = this.#find(ENTROPY, "entropy model", header.entropyModelId, fingerprint);
    const model = this.#make(file, EntropyModel);
    const { nCodebooks, codebookSize } = header;
    if (codebookSize !== model.codebookSize || nCodebooks > model.nCodebooks) {
      const found = `${nCodebooks} codebooks of ${codebookSize} codes`;
      const has = `its model has ${model.nCodebooks} of ${model.codebookSize}`;
      throw new InvalidField(`header: entropy coder transformer: ${found}; ${has}`);
    }
    return transformerCoder(this.kernel, header, model);
  }

  /**
   * @template T
   * @param {ModelFile} file
   * @param {new (kernel: import("./kernel.js").Kernel, file: ModelFile) => T} kind
   * @returns {T}
   */
  #make(file, kind) {
    if (!this.#made.has(file)) this.#made.set(file, new kind(this.kernel, file));
    return this.#made.get(file);
  }

  /**
   * @param {string} kind
   * @param {string} noun
   * @param {string} modelId
   * @param {string} fingerprint in hexadecimal
   */
  #find(kind, noun, modelId, fingerprint) {
    const files = this.#files.filter((file) => file.kind === kind);
    const ofId = files.filter((file) => file.modelId === modelId);
    const exact = ofId.find((file) => file.fingerprint === fingerprint);
    const found = exact ?? ofId.find((file) => file.decodes(fingerprint));
    if (found) return found;
    const wanted = `weights ${fingerprint} of ${noun} '${modelId}'`;
    if (!ofId.length) {
      const known = files.map((file) => file.modelId).join(", ") || "none";
      throw new ModelMissing(`${wanted}: not installed; installed: ${known}`);
    }
    const there = ofId.map((file) => `${file.fingerprint} (${file.name})`).join(", ");
    throw new ModelMismatch(`${wanted}: not installed; installed: ${there}`);
  }
}

/**
 * Say how a header contradicts a codec, or null.
 * @param {Header} header
 * @param {Record<string, number>} sizes
 */
function headerFault(header, sizes) {
  /** @type {[string, number, number][]} */
  const wanted = [
    ["architecture", header.architecture, SPECTRAL],
    ["sample_rate_hz", header.sampleRateHz, sizes.sample_rate_hz],
    ["samples_per_frame", header.samplesPerFrame, sizes.samples_per_frame],
    ["codebook_size", header.codebookSize, sizes.codebook_size],
  ];
  if (header.nChannels > 1) {
    wanted.push(["channels_per_stream", header.nChannels / header.nStreams, 1]);
  }
  for (const [name, found, value] of wanted) {
    if (found !== value) {
      return `${name} is ${found}, but model '${header.modelId}' has ${value}`;
    }
  }
  return header.nCodebooks > sizes.n_codebooks
    ? `${header.nCodebooks} codebooks, but model '${header.modelId}' has ${sizes.n_codebooks}`
    : null;
}
