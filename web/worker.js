/**
 * Decodes files in a thread of its own: tells the page what a file is, and gives its audio to the
 * worklet, no more of it than there is room for.
 *
 * From the page: `kernel`, `model`, `open`, `decode`. To the page: `header`, `peaks`, `end`, `error`.
 * To the worklet: audio of a run; from it: how much was played. A run is one decoding, from one
 * place of one file.
 */
import { Kernel } from "./codec/kernel.js";
import { Models } from "./codec/models.js";
import { Track } from "./codec/track.js";
import { peaksOf } from "./peaks.js";
import { openAddress } from "./ncx/http.js";
import { ARCHITECTURES, CODERS, TRANSFORMER } from "./ncx/header.js";
import { ranges } from "./ncx/source.js";
import { hex } from "./ncx/text.js";

const BLOCK = 4096; // samples that are sent at once

const scope = /** @type {any} */ (self);
/** @type {Promise<Models> | null} */
let models = null; // with all files that came so far
/** @type {Track | null} */
let track = null;
let file = 0; // the number of the file that is wanted
/** @type {MessagePort | null} */
let speaker = null;
/** The decoding that is wanted. @type {{run: number, room: number, wake: () => void}} */
let current = { run: 0, room: 0, wake: () => {} };

/** @param {any} message */
function send(message, given = /** @type {any[]} */ ([])) {
  scope.postMessage(message, given);
}

/** @param {{number: number, name: string, blob: Blob | null, address: string}} job */
async function open({ number, name, blob, address }) {
  file = number;
  stop();
  try {
    const opened = await Track.open(blob ? ranges(blob) : await openAddress(address, name), name);
    if (number !== file) return;
    track = opened;
    send({ kind: "header", number, ...described(opened) });
  } catch (error) {
    send({ kind: "error", number, text: /** @type {Error} */ (error).message });
  }
}

/** @param {Track} opened */
function described(opened) {
  const { header, durationS, bitrateBps, isIndexed } = opened;
  const { tags, pictures, sampleRateHz, nOutputChannels: nChannels, nCodebooks, modelId } = header;
  const coder = CODERS.get(header.entropy) ?? String(header.entropy);
  const wanted = [{ kind: "codec", modelId, fingerprint: hex(header.modelFingerprint) }];
  if (header.entropy === TRANSFORMER) {
    const fingerprint = hex(header.entropyFingerprint);
    wanted.push({ kind: "entropy", modelId: header.entropyModelId, fingerprint });
  }
  const architecture = ARCHITECTURES.get(header.architecture) ?? String(header.architecture);
  const codec = { architecture, modelId, nCodebooks, coder, sampleRateHz, nChannels };
  return { tags, pictures, durationS, bitrateBps, isIndexed, wanted, ...codec };
}

/** End the decoding that goes on. */
function stop() {
  const { wake } = current;
  current = { run: current.run, room: 0, wake: () => {} };
  wake();
}

/**
 * Decode the open file from a sample on.
 * @param {{number: number, run: number, sample: number, room: number}} job
 */
async function decode({ number, run, sample, room }) {
  stop();
  const mine = { run, room, wake: () => {} };
  current = mine;
  const isWanted = () => mine === current && number === file;
  const tell = (/** @type {any} */ message, /** @type {any[]} */ given = []) => {
    if (isWanted()) speaker?.postMessage({ run, ...message }, given);
  };
  try {
    const decoder = await /** @type {Track} */ (track).decoder(await /** @type {any} */ (models));
    tell({ kind: "start", place: sample });
    let place = sample;
    for await (const block of decoder.blocks(sample)) {
      for (let at = 0; at < block[0].length; at += BLOCK) {
        const channels = block.map((channel) => channel.slice(at, at + BLOCK));
        const { length } = channels[0];
        while (isWanted() && mine.room < length) await new Promise((go) => (mine.wake = () => go(0)));
        if (!isWanted()) return;
        mine.room -= length;
        send({ kind: "peaks", number, place, peaks: peaksOf(channels, place, decoder.sampleRateHz) });
        tell({ kind: "audio", channels }, channels.map(({ buffer }) => buffer));
        place += length;
      }
      await new Promise((resume) => setTimeout(resume)); // another place or file may be wanted
      if (!isWanted()) return;
    }
    send({ kind: "end", number, run, nSamples: place });
  } catch (error) {
    if (isWanted()) send({ kind: "error", number, text: /** @type {Error} */ (error).message });
  }
  tell({ kind: "end" });
}

/** @param {MessagePort} port */
function connect(port) {
  speaker = port;
  port.onmessage = ({ data: { run, taken } }) => {
    if (run !== current.run) return;
    current.room += taken;
    current.wake();
  };
}

scope.onmessage = (/** @type {MessageEvent} */ { data }) => {
  if (data.kind === "kernel") {
    models = Kernel.load(data.wasm).then((kernel) => new Models(kernel));
  } else if (data.kind === "model") {
    const before = /** @type {Promise<Models>} */ (models);
    models = before.then((all) => all.add(new Uint8Array(data.bytes), data.name));
    models.catch(() => {}); // whoever decodes is told
  } else if (data.kind === "open") {
    open(data);
  } else {
    if (data.port) connect(data.port);
    decode(data);
  }
};
