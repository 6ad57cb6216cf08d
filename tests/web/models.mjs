// node models.mjs FILE MODEL...: decode a file with each model alone; prints the errors, a line each.
import { readFileSync } from "node:fs";
import { decode, Kernel, Models } from "../../web/ncodec.js";

const [file, ...paths] = process.argv.slice(2);
const kernel = await Kernel.load(
  readFileSync(new URL("../../web/ncodec.wasm", import.meta.url)),
);
for (const path of paths) {
  let said = null;
  try {
    const models = await new Models(kernel).add(readFileSync(path), "model");
    await decode(readFileSync(file), models, "file");
  } catch (error) {
    said = [error.name, error.message];
  }
  console.log(JSON.stringify(said));
}
