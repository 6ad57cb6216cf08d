// node page.mjs SAMPLE: run the page's worker and its worklet, with stand-ins for the browser.
//
// Prints a line for each: what the worker says and sends of a sample, of a place in it, of a file of
// another kind; what the worklet plays of a ring that is smaller than the audio.
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { File } from "node:buffer";

const [path] = process.argv.slice(2);
const read = (name) => readFileSync(new URL(`../../${name}`, import.meta.url));
const exact = (bytes) => bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
const turn = () => new Promise((resolve) => setTimeout(resolve, 5));
const print = (value) => console.log(JSON.stringify(value));

async function until(action) {
  for (;;) {
    const found = action();
    if (found) return found;
    await turn();
  }
}

let said = [];
globalThis.self = { postMessage: (message) => said.push(message) };
await import("../../web/worker.js");
const tell = (data) => self.onmessage({ data });
const heard = (kind) => until(() => said.find((message) => message.kind === kind));

tell({ kind: "kernel", wasm: exact(read("web/ncodec.wasm")) });
for (const name of ["spectral", "entropy/spectral"]) {
  const bytes = exact(read(`ncodec/weights/${name}.safetensors`));
  tell({ kind: "model", name, bytes });
}
const { port1, port2 } = new MessageChannel();
let sent = [];
port1.onmessage = ({ data }) => sent.push(data);

// Take the audio as it comes, and ask for more only when nothing comes any more.
async function decoded(run, sample, room, port) {
  [said, sent] = [[], []];
  tell({ kind: "decode", number: 1, run, sample, room, port });
  const blocks = () => sent.filter(({ kind }) => kind === "audio");
  const count = () => blocks().reduce((sum, { channels }) => sum + channels[0].length, 0);
  let most = 0;
  let taken = 0;
  while (!sent.some(({ kind }) => kind === "end")) {
    const before = count();
    await new Promise((resolve) => setTimeout(resolve, 20));
    most = Math.max(most, count() - taken);
    if (count() === before && count() > taken) {
      port1.postMessage({ run, taken: count() - taken });
      taken = count();
    }
  }
  const [{ place }] = sent;
  const end = said.find(({ kind }) => kind === "end");
  const peaks = said.filter(({ kind }) => kind === "peaks");
  const loudest = Math.max(...peaks.flatMap((one) => [...one.peaks.values]));
  const all = blocks().flatMap(({ channels }) => [...channels[0]]);
  const isLoudest = loudest === all.reduce((sum, x) => Math.max(sum, Math.abs(x)), 0);
  return { run, place, n: count(), most, nSamples: end.nSamples, isLoudest };
}

tell({ kind: "open", number: 1, name: basename(path), blob: new File([readFileSync(path)], path) });
const { tags, wanted, durationS } = await heard("header");
print({ tags, wanted, durationS });
print(await decoded(1, 0, 30000, port2));
print(await decoded(2, 100000, 30000));
said = [];
tell({ kind: "open", number: 2, name: "other.ncx", blob: new File(["RIFF of some kind"], "x") });
print((await heard("error")).text);
port1.close();

let speaker;
globalThis.AudioWorkletProcessor = class {
  port = { said: [], postMessage: (message) => this.port.said.push(message) };
};
globalThis.registerProcessor = (name, kind) => {
  const options = { processorOptions: { nChannels: 2, size: 100 } };
  speaker = new kind(options);
};
await import("../../web/worklet.js");
const worker = { taken: 0, postMessage: ({ taken }) => (worker.taken += taken) };
const page = (data) => speaker.port.onmessage({ data });
page({ port: worker });
page({ run: 1, place: 40 });
const played = [];
function quantum() {
  const output = [new Float32Array(16), new Float32Array(16)];
  const isOpen = speaker.process([], [output]);
  played.push(...output[0]);
  return isOpen && output[1].every((value, i) => value === -output[0][i]);
}
const ramp = (first, n) => Float32Array.from({ length: n }, (_, i) => first + i);
const give = (run, first, n) => {
  const one = ramp(first, n);
  const channels = [one, one.map((value) => -value)];
  worker.onmessage({ data: { kind: "audio", run, channels } });
};
give(1, 1, 90);
const isSilent = quantum() && played.every((value) => value === 0); // it was not told to play
played.length = 0;
page({ isPlaying: true });
let isWhole = true;
for (let i = 0; i < 4; i++) isWhole &&= quantum();
give(1, 91, 70); // beyond the ring's end
give(0, 1000, 10); // of a run that is over
worker.onmessage({ data: { kind: "end", run: 1 } });
for (let i = 0; i < 7; i++) isWhole &&= quantum();
const isInOrder = played.slice(0, 160).every((value, i) => value === i + 1);
const over = speaker.port.said.at(-1);
page({ run: 2, place: 0 });
give(2, 7, 16);
page({ isPlaying: true });
played.length = 0;
quantum();
print({ isSilent, isWhole, isInOrder, over, taken: worker.taken, next: played[0] });
