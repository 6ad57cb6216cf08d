/** What a page is served with, said by `site.json` beside it: files to play, and models. */
import { fetchResource, resourceUrl } from "./resources.js";

/**
 * @typedef {object} SiteModel
 * @property {string} file its name, relative to the page
 * @property {string} model_id
 * @property {string} [sha256] of the file that it was made of: its first bytes are the fingerprint
 * @property {"codec" | "entropy"} kind
 */
/** @typedef {{files: string[], models: SiteModel[]}} Site */
/** @typedef {{kind: "codec" | "entropy", modelId: string, fingerprint: string}} Wanted */

const WEIGHTS = "../ncodec/weights/";

/** Of a clone, which has no `site.json`. @type {Site} */
const CLONE = {
  files: [],
  models: [
    { file: `${WEIGHTS}spectral.safetensors`, model_id: "spectral", kind: "codec" },
    { file: `${WEIGHTS}entropy/spectral.safetensors`, model_id: "spectral", kind: "entropy" },
  ],
};

/**
 * Return what the page is served with. Raises Error for a `site.json` that is none.
 * @returns {Promise<Site>}
 */
export async function loadSite() {
  let response;
  try {
    response = await fetch(resourceUrl("site.json"));
  } catch {
    return CLONE;
  }
  if (!response.ok) return CLONE;
  const { files, models } = await response.json().catch(() => ({}));
  const isText = (/** @type {any} */ value) => typeof value === "string";
  if (!Array.isArray(files) || !files.every(isText)) {
    throw new Error('site.json: "files" is not a list of names');
  }
  if (!Array.isArray(models) || !models.every((one) => isText(one?.file) && isText(one.model_id))) {
    throw new Error('site.json: "models" is not a list of models');
  }
  return { files, models };
}

/**
 * Return the models that may be the wanted one: that of its weights, or all of its id, one of which
 * may stand for these weights.
 * @param {Site} site
 * @param {Wanted} wanted
 */
export function candidates(site, { kind, modelId, fingerprint }) {
  const ofId = site.models.filter((model) => model.kind === kind && model.model_id === modelId);
  const exact = ofId.filter((model) => model.sha256?.startsWith(fingerprint));
  return exact.length ? exact : ofId;
}

/** Model files, each of which is fetched once. */
export class ModelFiles {
  /** @type {Set<string>} */
  #had = new Set();

  /**
   * Yield the files that were not fetched before. Raises Error where one cannot be had.
   * @param {SiteModel[]} models
   */
  async *fetch(models) {
    for (const { file } of models) {
      if (this.#had.has(file)) continue;
      const bytes = await (await fetchResource(file)).arrayBuffer();
      this.#had.add(file);
      yield { name: /** @type {string} */ (file.split("/").pop()), bytes };
    }
  }
}
