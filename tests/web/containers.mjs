// node containers.mjs BLOB LENGTHS: read files that lie one after another in BLOB.
//
// Prints a line for each: what the file says, or how it is refused. LENGTHS is a JSON list of
// [name, bytes].
import { readFileSync } from "node:fs";
import { NcodecError, ranges, Reader, readIndex } from "../../web/ncodec.js";

const [blob, text] = process.argv.slice(2).map((path) => readFileSync(path));
// Of this process alone: the system's count begins with that of the one that started it.
function mostMemoryKib() {
  try {
    return Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync("/proc/self/status", "utf8"))[1]);
  } catch {
    return Math.round(process.memoryUsage().rss / 1024);
  }
}
const asHex = (bytes) => Buffer.from(bytes).toString("hex");
const asNumber = (value) => (value === null ? null : Number(value));

function described(header) {
  return {
    architecture: header.architecture,
    model_id: header.modelId,
    model_fingerprint: asHex(header.modelFingerprint),
    sample_rate_hz: header.sampleRateHz,
    n_channels: header.nChannels,
    codebook_size: header.codebookSize,
    n_codebooks: header.nCodebooks,
    samples_per_frame: header.samplesPerFrame,
    n_streams: header.nStreams,
    entropy: header.entropy,
    entropy_model_id: header.entropyModelId,
    entropy_fingerprint: asHex(header.entropyFingerprint),
    bitrate_bps: header.bitrateBps,
    source_sample_rate_hz: header.sourceSampleRateHz,
    n_samples: asNumber(header.nSamples),
    tags: header.tags,
    extensions: header.extensions.map(([number, content]) => [number, asHex(content)]),
    attachments: header.attachments.map(({ kind, content }) => [kind, asHex(content)]),
  };
}

function describedTrailer(trailer) {
  return {
    n_packets: trailer.nPackets,
    packet_bytes: trailer.packetBytes,
    packet_frames: trailer.packetFrames,
    codes_digest: asHex(trailer.codesDigest),
    n_samples: asNumber(trailer.nSamples),
    offset: trailer.offset,
    n_bytes: trailer.nBytes,
  };
}

const asPacket = (packet) => ({
  number: packet.number,
  n_frames: packet.nFrames,
  payload: asHex(packet.payload),
  dependent: packet.dependent,
  scales: [...packet.scales],
  offset: packet.offset,
  n_bytes: packet.nBytes,
});

async function refusal(action) {
  try {
    await action();
    return null;
  } catch (error) {
    if (!(error instanceof NcodecError)) throw error;
    return [error.name, error.message];
  }
}

// A stream that gives a few bytes at a time, as networks do.
async function* inPieces(bytes) {
  for (let at = 0, step = 1; at < bytes.length; at += step, step = (step * 5 + 3) % 97) {
    yield bytes.subarray(at, at + step);
  }
}

async function readFile(input, name) {
  const found = { header: null, packets: [], trailer: null };
  const error = await refusal(async () => {
    const reader = await Reader.open(input, name);
    found.header = described(reader.header);
    for await (const packet of reader) found.packets.push(asPacket(packet));
    found.trailer = describedTrailer(reader.trailer);
  });
  return { ...found, error };
}

async function readEnd(bytes, name) {
  let trailer = null;
  const error = await refusal(async () => {
    trailer = describedTrailer((await readIndex(ranges(bytes), name)).trailer);
  });
  return { trailer, error };
}

let at = 0;
let longest = 0;
for (const [name, length] of JSON.parse(text)) {
  const bytes = new Uint8Array(blob.buffer, blob.byteOffset + at, length);
  at += length;
  const start = performance.now();
  const whole = await readFile(bytes, name);
  longest = Math.max(longest, performance.now() - start);
  const streamed = await readFile(inPieces(bytes), name);
  const same = JSON.stringify(whole) === JSON.stringify(streamed);
  console.log(JSON.stringify({ ...whole, same, index: await readEnd(bytes, name) }));
}
console.log(JSON.stringify({ longest_ms: longest, memory_kib: mostMemoryKib() }));
