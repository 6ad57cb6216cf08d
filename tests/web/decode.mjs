// node decode.mjs JOB: decode files, with the models that a job names.
//
// Prints a line for each file: its audio, in a file of float32 [channels, samples] beside it, and
// the digest of its codes; or how it is refused. A job has the files [name, path], the models'
// paths, and whether to keep the audio.
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { codesOf, Decoder, Kernel, Models, NcodecError, Reader } from "../../web/ncodec.js";

const job = JSON.parse(readFileSync(process.argv[2], "utf8"));
const kernel = await Kernel.load(
  readFileSync(new URL("../../web/ncodec.wasm", import.meta.url)),
);
const models = new Models(kernel);
for (const path of job.models) await models.add(readFileSync(path), path);

async function refusal(action) {
  try {
    await action();
    return null;
  } catch (error) {
    if (!(error instanceof NcodecError)) throw error;
    return [error.name, error.message];
  }
}

// What comes before an error counts: all that is whole must be delivered first.
async function decodeAudio(bytes, name) {
  const found = { sample_rate_hz: 0, n_samples: null, channels: [] };
  const error = await refusal(async () => {
    const decoder = await Decoder.open(bytes, models, name);
    found.sample_rate_hz = decoder.sampleRateHz;
    found.n_samples = decoder.nSamples;
    found.channels = Array.from({ length: decoder.nChannels }, () => []);
    for await (const block of decoder.blocks()) {
      block.forEach((part, channel) => found.channels[channel].push(Buffer.from(part.buffer)));
    }
  });
  return { ...found, error };
}

async function decodeCodes(bytes, name) {
  const hash = createHash("sha256");
  let nCodes = 0;
  const error = await refusal(async () => {
    for await (const codes of codesOf(await Reader.open(bytes, name), models)) {
      hash.update(Buffer.from(Uint16Array.from(codes).buffer));
      nCodes += codes.length;
    }
  });
  return { n_codes: nCodes, codes: hash.digest("hex"), codes_error: error };
}

let longest = 0;
for (const [name, path] of job.files) {
  const bytes = readFileSync(path);
  const start = performance.now();
  const { channels, ...audio } = await decodeAudio(bytes, name);
  longest = Math.max(longest, performance.now() - start);
  const whole = Buffer.concat(channels.flat());
  writeFileSync(`${path}.f32`, whole);
  const values = new Float32Array(whole.buffer, whole.byteOffset, whole.length / 4);
  const finite = values.every(Number.isFinite);
  const codes = await decodeCodes(bytes, name);
  console.log(JSON.stringify({ ...audio, n_channels: channels.length, finite, ...codes }));
}
const memory = { kernel_bytes: kernel.calls.memory.buffer.byteLength };
console.log(JSON.stringify({ longest_ms: longest, ...memory }));
