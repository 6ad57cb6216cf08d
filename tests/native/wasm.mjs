// node wasm.mjs MODULE JOB: decode the packets of a job, and print their codes and where each failed.
import { readFileSync } from "node:fs";

const [binary, text] = process.argv.slice(2).map((path) => readFileSync(path));
const job = JSON.parse(text);
const { exports: kernel } = new WebAssembly.Instance(new WebAssembly.Module(binary), {});

function place(bytes) {
  const at = kernel.malloc(bytes.length);
  new Uint8Array(kernel.memory.buffer).set(bytes, at);
  return at;
}

function decoded(packets, decode, reset, state) {
  return packets.map(({ payload, n_frames, dependent }) => {
    if (!dependent) reset(state);
    const bytes = Buffer.from(payload, "base64");
    const n = n_frames * job.n_streams * job.n_q;
    const [input, output] = [place(bytes), place(new Uint8Array(4 * n))];
    const failed = decode(state, input, bytes.length, n_frames, output);
    const codes = [...new Int32Array(kernel.memory.buffer, output, n)];
    kernel.free(input);
    kernel.free(output);
    return { failed, codes };
  });
}

const sizes = place(new Uint8Array(Int32Array.from(job.sizes).buffer));
const tensors = Buffer.from(job.tensors, "base64");
if (kernel.model_bytes(sizes) !== tensors.length) throw new Error("model_bytes");
const model = kernel.model_new(sizes, place(tensors));
const context = kernel.context_new(model, job.n_streams, job.n_q);
const coder = kernel.adaptive_new(job.n_streams, job.n_q, job.sizes[1]);
const mixed = kernel.mixed_new(job.n_streams, job.n_q, job.sizes[1]);
const { context_reset, adaptive_reset, mixed_reset } = kernel;
const { decode, adaptive_decode, mixed_decode } = kernel;
const found = [
  decoded(job.transformer, decode, context_reset, context),
  decoded(job.adaptive, adaptive_decode, adaptive_reset, coder),
  decoded(job.mixed, mixed_decode, mixed_reset, mixed),
];
kernel.context_free(context);
kernel.model_free(model);
kernel.adaptive_free(coder);
kernel.mixed_free(mixed);
console.log(JSON.stringify(found));
