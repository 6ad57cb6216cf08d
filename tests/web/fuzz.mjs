// node fuzz.mjs JOB: damage files at random, and decode them from their start and from a place.
//
// A job has files [path], the models' paths, a seed and how many to make. Half of the damaged
// packets get a CRC that matches. Prints how often each class of error came, the longest time, and
// the most memory: of the kernel, and of audio in all.
import { readFileSync } from "node:fs";
import { Decoder, Kernel, Models, NcodecError, ranges, Reader, Track } from "../../web/ncodec.js";
import { crc32 } from "../../web/ncx/crc32.js";

const job = JSON.parse(readFileSync(process.argv[2], "utf8"));
const kernel = await Kernel.load(
  readFileSync(new URL("../../web/ncodec.wasm", import.meta.url)),
);
const models = new Models(kernel);
for (const path of job.models) await models.add(readFileSync(path), path);

let state = job.seed;
function random(n) {
  state = (state + 0x6d2b79f5) | 0; // mulberry32
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) % n;
}

const originals = [];
for (const path of job.files) {
  const bytes = new Uint8Array(readFileSync(path));
  const reader = await Reader.open(bytes, path);
  const packets = [];
  for await (const { offset, nBytes } of reader) packets.push({ offset, nBytes });
  originals.push({ bytes, packets });
}

function damaged({ bytes, packets }) {
  const at = random(bytes.length);
  const kind = random(6);
  if (kind === 0) return bytes.slice(0, at);
  if (kind === 1) {
    const n = 1 + random(4);
    return Uint8Array.from([...bytes.slice(0, at), ...bytes.slice(at + n)]);
  }
  const copy = bytes.slice();
  if (kind < 4 || !packets.length) {
    for (let n = random(3); n >= 0; n--) copy[random(copy.length)] ^= 1 << random(8);
    return copy;
  }
  const { offset, nBytes } = packets[random(packets.length)];
  for (let n = random(3); n >= 0; n--) copy[offset + random(nBytes - 4)] = random(256);
  const sum = crc32(copy.subarray(offset, offset + nBytes - 4));
  new DataView(copy.buffer).setUint32(offset + nBytes - 4, sum, true);
  return copy;
}

async function outcome(open, start) {
  let n = 0;
  try {
    for await (const block of (await open()).blocks(start)) {
      n += block.length * block[0].length;
      if (n > job.most_samples) return ["long", n];
    }
    return ["audio", n];
  } catch (error) {
    if (!(error instanceof NcodecError)) throw error;
    return [error.name, n];
  }
}

const kinds = {};
let longest = 0;
for (let i = 0; i < job.count; i++) {
  const bytes = damaged(originals[random(originals.length)]);
  const begun = performance.now();
  const place = random(20000);
  const track = async () => (await Track.open(ranges(bytes), "damaged")).decoder(models);
  for (const [open, start] of [[() => Decoder.open(bytes, models), 0], [track, 0], [track, place]]) {
    const [kind] = await outcome(open, start);
    kinds[kind] = (kinds[kind] ?? 0) + 1;
  }
  longest = Math.max(longest, performance.now() - begun);
}
const memory = { kernel_bytes: kernel.calls.memory.buffer.byteLength };
const { maxRSS } = process.resourceUsage();
console.log(JSON.stringify({ kinds, longest_ms: longest, max_rss_kib: maxRSS, ...memory }));
