// node page.mjs SAMPLE: run the page's worker and its playback, with stand-ins for the browser.
//
// Prints what the worker sends for a sample and for a file of another kind, a line each; then what
// the playback hands to the sound card: [when, late, seconds] of each block.
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { File } from "node:buffer";

const [path] = process.argv.slice(2);
const models = ["spectral.safetensors", "entropy/spectral.safetensors"].map(
  (name) => new URL(`../../ncodec/weights/${name}`, import.meta.url).href,
);
globalThis.fetch = async (url) => new Response(readFileSync(new URL(url)));

let sent = [];
let finished = () => {};
globalThis.self = {
  postMessage(message) {
    sent.push(message);
    if (message.kind === "end" || message.kind === "error") finished();
  },
};
await import("../../web/worker.js");

async function told(number, file) {
  sent = [];
  const end = new Promise((resolve) => (finished = resolve));
  self.onmessage({ data: { number, file, models } });
  await end;
  return sent;
}

const whole = await told(1, new File([readFileSync(path)], basename(path)));
const other = await told(2, new File(["RIFF of some kind"], "other.ncx"));
const audio = whole.filter(({ kind }) => kind === "audio");
const nSamples = audio.reduce((sum, { channels }) => sum + channels[0].length, 0);
console.log(JSON.stringify({ kinds: whole.map(({ kind }) => kind), tags: whole[0].tags, nSamples }));
console.log(JSON.stringify(other.map(({ kind, text }) => [kind, text])));

const started = [];
globalThis.AudioContext = class {
  currentTime = 10;
  destination = null;
  async resume() {}
  close() {}
  createBuffer(n, length, rateHz) {
    return { seconds: length / rateHz, copyToChannel() {} };
  }
  createBufferSource() {
    return {
      buffer: null,
      connect() {},
      stop() {},
      start(when, late) {
        started.push([when, late, this.buffer.seconds]);
      },
    };
  }
};
const { Playback } = await import("../../web/playback.js");
const playback = new Playback(100);
playback.push([new Float32Array(100)]);
playback.push([new Float32Array(50)]);
await playback.play(); // blocks at 10 and 11
playback.push([new Float32Array(200)]); // at 11.5
await playback.seek(1.25); // 0.25 into the second, then the third
console.log(JSON.stringify({ started, arrived: playback.arrived, place: playback.place }));
