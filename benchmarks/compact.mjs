// node compact.mjs MODEL SUFFIX FILE...: decode files; the audio [C, T], float32, goes beside each.
//
// Run by compact.py. Files are of a coder that needs no model.
import { readFileSync, writeFileSync } from "node:fs";
import { decode, Kernel, Models } from "../web/ncodec.js";

const [model, suffix, ...files] = process.argv.slice(2);
const wasm = readFileSync(new URL("../web/ncodec.wasm", import.meta.url));
const models = await new Models(await Kernel.load(wasm)).add(readFileSync(model), model);
for (const path of files) {
  const { channels } = await decode(readFileSync(path), models, path);
  writeFileSync(path + suffix, Buffer.concat(channels.map(({ buffer }) => Buffer.from(buffer))));
}
