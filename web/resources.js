/** Where the files are that the page needs: beside it, or in it where it is a single file. */

/** The folder of the page's own modules; in a single file they have no folder, only the page has. */
const base = /^https?:|^file:/.test(import.meta.url) ? import.meta.url : document.baseURI;

/**
 * Return the address of a file that belongs to the page, by its name.
 *
 * A single file maps names to `blob:` or `data:` addresses in `globalThis.ncodecResources`, before
 * the page's modules run.
 * @param {string} name relative to the page, such as "ncodec.wasm"
 * @returns {string}
 */
export function resourceUrl(name) {
  const inside = /** @type {any} */ (globalThis).ncodecResources?.[name];
  return inside ?? new URL(name, base).href;
}

/**
 * Return a file of the page. Raises Error where it cannot be had.
 * @param {string} name
 * @returns {Promise<Response>}
 */
export async function fetchResource(name) {
  let response;
  try {
    response = await fetch(resourceUrl(name));
  } catch (error) {
    throw new Error(`${name}: cannot be read: ${/** @type {Error} */ (error).message}`);
  }
  if (!response.ok) {
    throw new Error(`${name}: cannot be read: ${response.status} ${response.statusText}`);
  }
  return response;
}
