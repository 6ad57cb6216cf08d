// node web.mjs WASM REPEATS MODEL MODEL FILE...: seconds of the processor that each file takes.
//
// Run by web.py. The best of some decodings, the first of which warms up; all threads count.
import { readFileSync } from "node:fs";
import { Decoder, Kernel, Models } from "../web/ncodec.js";

const [wasm, repeats, codec, entropy, ...files] = process.argv.slice(2);

function seconds() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

const start = seconds();
const models = new Models(await Kernel.load(readFileSync(wasm)));
for (const path of [codec, entropy]) await models.add(readFileSync(path), path);
const loading = seconds() - start;

const found = [];
for (const path of files) {
  const bytes = readFileSync(path);
  let best = Infinity;
  for (let i = 0; i < Number(repeats); i++) {
    const before = seconds();
    const decoder = await Decoder.open(bytes, models, path);
    for await (const block of decoder.blocks()) if (!block.length) throw new Error("no channel");
    best = Math.min(best, seconds() - before);
  }
  found.push(best);
}
console.log(JSON.stringify({ loading, found, node: process.version }));
