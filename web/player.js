/** The page: a file that is dropped or chosen is decoded in a worker, shown and played. */
import { Playback } from "./playback.js";

const MODELS = ["spectral.safetensors", "entropy/spectral.safetensors"];
const FRONT_COVER = 3;
const STEP_S = 5; // of the arrow keys

const element = (/** @type {string} */ id) =>
  /** @type {HTMLElement} */ (document.getElementById(id));
const input = /** @type {HTMLInputElement} */ (element("file"));
const seek = /** @type {HTMLInputElement} */ (element("seek"));
const button = /** @type {HTMLButtonElement} */ (element("play"));
const picture = /** @type {HTMLImageElement} */ (element("picture"));

const folder = new URLSearchParams(location.search).get("models") ?? "../ncodec/weights/";
const models = MODELS.map((name) => new URL(folder + name, location.href).href);
const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
let number = 0;
/** @type {Playback | null} */
let playback = null;
let durationS = 0;

/** @param {number} seconds */
function clock(seconds) {
  const whole = Math.floor(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/** @param {string} text */
function say(text) {
  element("status").textContent = text;
}

/** @param {File} file */
function open(file) {
  playback?.close();
  playback = null;
  button.disabled = true;
  seek.disabled = true;
  element("title").textContent = file.name;
  element("artist").textContent = "";
  element("time").textContent = "";
  picture.hidden = true;
  say("Decoding …");
  worker.postMessage({ number: ++number, file, models });
}

/** @param {any} header */
function showHeader(header) {
  const tag = (/** @type {string} */ key) =>
    header.tags.filter(([name]) => name.toUpperCase() === key).map(([, value]) => value).join(", ");
  element("title").textContent = tag("TITLE") || element("title").textContent;
  element("artist").textContent = tag("ARTIST");
  const images = header.pictures.filter(({ mediaType }) => mediaType.startsWith("image/"));
  const cover = images.find(({ kind }) => kind === FRONT_COVER) ?? images[0];
  if (cover) {
    URL.revokeObjectURL(picture.src);
    picture.src = URL.createObjectURL(new Blob([cover.data], { type: cover.mediaType }));
    picture.alt = cover.description || "Cover";
    picture.hidden = false;
  }
  durationS = header.durationS ?? 0;
  playback = new Playback(header.sampleRateHz);
  button.disabled = false;
  seek.disabled = false;
}

worker.onmessage = ({ data }) => {
  if (data.number !== number) return;
  if (data.kind === "header") showHeader(data);
  else if (data.kind === "audio") playback?.push(data.channels);
  else say(data.kind === "error" ? data.text : "");
};

async function toggle() {
  if (!playback) return;
  if (playback.playing) playback.pause();
  else await playback.play();
}

function show() {
  if (playback) {
    const whole = Math.max(durationS, playback.arrived);
    const { place } = playback;
    if (playback.playing && place >= whole) {
      playback.pause();
      playback.seek(0);
    }
    seek.max = String(whole);
    seek.value = String(place);
    seek.setAttribute("aria-valuetext", clock(place));
    element("time").textContent = `${clock(place)} / ${clock(whole)}`;
  }
  button.textContent = playback?.playing ? "Pause" : "Play";
  requestAnimationFrame(show);
}

button.onclick = toggle;
seek.oninput = () => playback?.seek(Number(seek.value));
input.onchange = () => input.files?.[0] && open(input.files[0]);
document.ondragover = (event) => event.preventDefault();
document.ondrop = (event) => {
  event.preventDefault();
  const file = event.dataTransfer?.files[0];
  if (file) open(file);
};
document.onkeydown = (event) => {
  if (!playback || event.target instanceof HTMLInputElement) return;
  if (event.key === " " && event.target !== button) toggle();
  else if (event.key === "ArrowLeft") playback.seek(playback.place - STEP_S);
  else if (event.key === "ArrowRight") playback.seek(playback.place + STEP_S);
  else return;
  event.preventDefault();
};
show();
