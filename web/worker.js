/** Decodes files in a thread of its own; the page sends a file, and takes audio block by block. */
import { Decoder, Kernel, Models, NcodecError } from "./ncodec.js";

const scope = /** @type {any} */ (self);
/** @type {Promise<Models> | null} */
let loading = null;
let newest = 0; // number of the file that is wanted

/** @param {string[]} addresses of model files */
async function load(addresses) {
  const models = new Models(await Kernel.load(fetch(new URL("ncodec.wasm", import.meta.url))));
  for (const address of addresses) {
    const response = await fetch(address);
    if (!response.ok) throw new Error(`${address}: ${response.status} ${response.statusText}`);
    await models.add(response, address);
  }
  return models;
}

/** @param {{number: number, file: File, models: string[]}} job */
async function decode({ number, file, models: addresses }) {
  newest = number;
  const send = (/** @type {any} */ message, /** @type {any[]} */ given = []) =>
    scope.postMessage({ number, ...message }, given);
  try {
    loading ??= load(addresses);
    const decoder = await Decoder.open(file, await loading, file.name);
    const { header, sampleRateHz, nChannels } = decoder;
    const { tags, pictures, durationS } = header;
    send({ kind: "header", tags, pictures, durationS, sampleRateHz, nChannels });
    for await (const channels of decoder.blocks()) {
      if (number !== newest) return;
      send({ kind: "audio", channels }, channels.map(({ buffer }) => buffer));
      await new Promise((resume) => setTimeout(resume)); // a newer file may have come
    }
    send({ kind: "end" });
  } catch (error) {
    if (!(error instanceof NcodecError)) loading = null; // a model may be there the next time
    send({ kind: "error", text: /** @type {Error} */ (error).message });
  }
}

scope.onmessage = (/** @type {MessageEvent} */ event) => decode(event.data);
