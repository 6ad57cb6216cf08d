// node seek.mjs JOB: decode files whole, and from places in them.
//
// Prints a line for each file: the greatest difference of the audio from each place on, the samples
// missing there, and the bytes that were read for it. A job has the files [name, path] and the
// models' paths.
import { readFileSync } from "node:fs";
import { Decoder, Kernel, Models, ranges, Track } from "../../web/ncodec.js";

const job = JSON.parse(readFileSync(process.argv[2], "utf8"));
const models = new Models(
  await Kernel.load(readFileSync(new URL("../../web/ncodec.wasm", import.meta.url))),
);
for (const path of job.models) await models.add(readFileSync(path), path);

function counted(bytes) {
  const file = ranges(bytes);
  const count = { size: file.size, n: 0, read: null };
  count.read = (start, end) => {
    count.n += Math.min(end, file.size) - start;
    return file.read(start, end);
  };
  return count;
}

async function collect(decoder, start, most = Infinity) {
  const channels = Array.from({ length: decoder.nChannels }, () => []);
  let error = null;
  try {
    for await (const block of decoder.blocks(start)) {
      block.forEach((part, c) => {
        for (const value of part) channels[c].push(value);
      });
      if (channels[0].length >= most) break;
    }
  } catch (fault) {
    error = [fault.name, fault.message];
  }
  return { channels, error };
}

for (const [name, path] of job.files) {
  const bytes = readFileSync(path);
  const whole = await collect(await Decoder.open(bytes, models, name), 0);
  const file = counted(bytes);
  const track = await Track.open(file, name);
  const n = whole.channels[0].length;
  const places = [];
  for (const part of job.parts) {
    const start = Math.floor(part * n);
    file.n = 0;
    const decoder = await track.decoder(models);
    const { channels, error } = await collect(decoder, start, job.most ?? undefined);
    let difference = 0;
    channels.forEach((channel, c) =>
      channel.forEach((value, i) => {
        difference = Math.max(difference, Math.abs(value - whole.channels[c][start + i]));
      }),
    );
    places.push({ start, difference, missing: n - start - channels[0].length, error, read: file.n });
  }
  const { isIndexed, durationS } = track;
  console.log(
    JSON.stringify({ n, error: whole.error, isIndexed, durationS, size: bytes.length, places }),
  );
}
