/** What the page shows of a file: texts, its picture, its waveform. */
import { resourceUrl } from "./resources.js";

const FRONT_COVER = 3;
const COLUMN = 3; // of the waveform, pixels of the page
const GAP = 1;

/** @param {number} seconds */
export function clock(seconds) {
  const whole = Math.floor(seconds);
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  const rest = String(whole % 60).padStart(2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

/**
 * Return the values of the tags of a name.
 * @param {{tags: [string, string][]}} header
 * @param {string} key
 */
export function tag({ tags }, key) {
  const found = tags.filter(([name]) => name.toUpperCase() === key);
  return found.map(([, value]) => value).join(", ");
}

/**
 * Return the picture that stands for a file, if there is one.
 * @param {{pictures: any[]}} header
 */
export function cover({ pictures }) {
  const images = pictures.filter(({ mediaType }) => mediaType.startsWith("image/"));
  return images.find(({ kind }) => kind === FRONT_COVER) ?? images[0];
}

/**
 * Return a line of what a file is: bit rate, model, codec, codebooks, entropy coder, rate, channels.
 * @param {any} header
 */
export function facts(header) {
  const { bitrateBps, modelId, architecture, nCodebooks, coder, sampleRateHz, nChannels } = header;
  const channels = ["", "mono", "stereo"][nChannels] ?? `${nChannels} channels`;
  return [
    ...(bitrateBps ? [`${(bitrateBps / 1000).toFixed(2)} kbit/s`] : []),
    modelId === architecture ? `model ${modelId}` : `model ${modelId} (${architecture})`,
    nCodebooks === 1 ? "1 codebook" : `${nCodebooks} codebooks`,
    `${coder} coder`,
    `${sampleRateHz / 1000} kHz ${channels}`,
  ]
    .map((fact) => fact.replaceAll(" ", "\u00a0")) // lines end between facts, after a dot
    .join("\u00a0· ");
}

/**
 * Return files by their names, which are relative to the page. Raises Error for one of another host.
 * @param {string[]} names
 * @returns {import("./engine.js").Item[]}
 */
export function namedItems(names) {
  return names.map((name) => {
    const address = resourceUrl(name);
    const isHere = !/^https?:/.test(address) || new URL(address).origin === location.origin;
    if (!isHere) throw new Error(`${name}: is at another host than the page; download it first`);
    return { name: plainName(/** @type {string} */ (name.split("/").pop())), address };
  });
}

/** Return a name as people read it: those of `site.json` are percent-encoded. @param {string} name */
function plainName(name) {
  try {
    return decodeURIComponent(name);
  } catch {
    return name; // a % that stands for itself
  }
}

/** @type {Float32Array | null} */
let columns = null;

/**
 * Draw a waveform; what was played is in another colour.
 * @param {HTMLCanvasElement} canvas
 * @param {import("./peaks.js").Waveform} waveform
 * @param {number} seconds of its whole width
 * @param {number} place s
 * @param {boolean} isStale whether it has changed
 */
export function drawWave(canvas, waveform, seconds, place, isStale) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const scale = globalThis.devicePixelRatio || 1;
  const pixels = [Math.round(width * scale), Math.round(height * scale)];
  if (canvas.width !== pixels[0] || canvas.height !== pixels[1]) {
    [canvas.width, canvas.height] = pixels;
    isStale = true;
  }
  const nColumns = Math.max(1, Math.floor(width / COLUMN));
  const nPlayed = Math.floor((place / seconds) * nColumns);
  if (isStale || !columns) columns = waveform.columns(nColumns, seconds);
  else if (canvas.dataset.played === String(nPlayed)) return;
  canvas.dataset.played = String(nPlayed);
  const pen = canvas.getContext("2d");
  if (!pen) return;
  const style = getComputedStyle(canvas);
  const [quiet, accent] = ["--wave", "--accent"].map((name) => style.getPropertyValue(name));
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  columns.forEach((peak, column) => {
    const tall = Math.max(2, Math.sqrt(Math.min(1, peak)) * height); // soft sounds are seen too
    pen.fillStyle = column < nPlayed ? accent : quiet;
    pen.fillRect(column * COLUMN, (height - tall) / 2, COLUMN - GAP, tall);
  });
}
