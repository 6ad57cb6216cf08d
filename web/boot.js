/**
 * Starts the player in a page that holds all that it needs; web/single_page.py makes such pages.
 *
 * An element of JSON has the scripts and the names of the files that follow it, each an element of
 * base64 of its zlib stream. All become addresses, which the player asks for by name.
 */
const bundle = /** @type {HTMLElement} */ (document.getElementById("bundle"));
const { main, scripts, files } = JSON.parse(bundle.textContent ?? "");

/** @param {string} text base64 of a zlib stream */
async function unpacked(text) {
  const characters = atob(text);
  const bytes = new Uint8Array(characters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = characters.charCodeAt(i);
  const inflate = new DecompressionStream("deflate");
  return new Response(new Blob([bytes]).stream().pipeThrough(inflate)).arrayBuffer();
}

/** @type {Record<string, string>} */
const resources = {};
for (const [number, { name, type }] of files.entries()) {
  const element = /** @type {HTMLElement} */ (document.getElementById(`file-${number}`));
  const content = await unpacked(element.textContent ?? "");
  resources[name] = URL.createObjectURL(new Blob([content], { type }));
  element.remove();
}
for (const { name, text } of scripts) {
  // Of a page that was opened as a file, workers and worklets take no modules from a Blob.
  resources[name] = `data:text/javascript,${encodeURIComponent(text)}`;
}
bundle.remove();
/** @type {any} */ (globalThis).ncodecResources = resources;
await import(resources[main]);
