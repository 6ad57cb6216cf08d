/** The page: files that are dropped, chosen or named are shown, listed and played. */
import { Engine } from "./engine.js";
import { Waveform } from "./peaks.js";
import { loadSite } from "./site.js";
import { cover, drawWave, facts, clock, namedItems, tag } from "./view.js";

/** @typedef {import("./engine.js").Item} Item */

const STEP_S = 5; // of the arrow keys
const ICONS = {
  play: "M7 4v16l13-8z",
  pause: "M6 4h4v16H6zM14 4h4v16h-4z",
  loud: "M4 9v6h4l6 5V4L8 9zM16 8.5q3 3.5 0 7z",
  mute: "M4 9v6h4l6 5V4L8 9zM16 9l5 6M21 9l-5 6",
};

const element = (/** @type {string} */ id) =>
  /** @type {HTMLElement} */ (document.getElementById(id));
const input = (/** @type {string} */ id) => /** @type {HTMLInputElement} */ (element(id));
const button = (/** @type {string} */ id) => /** @type {HTMLButtonElement} */ (element(id));
const picture = /** @type {HTMLImageElement} */ (element("picture"));
const canvas = /** @type {HTMLCanvasElement} */ (element("wave"));

/** @type {Item[]} */
let items = [];
let current = 0; // number of the item that is open
let isMuted = false;
let isSeeking = false; // the slider is held
let isFaulty = false; // the open file had an error
let waveform = new Waveform();
let isStale = true; // the waveform has changed since it was drawn

const site = loadSite();
const engine = new Engine(site, {
  header: showHeader,
  peaks: (peaks) => {
    waveform.add(peaks);
    isStale = true;
  },
  length: showLength,
  end: goOn,
  error: showError,
});

/**
 * Show or hide a line of text.
 * @param {string} id
 * @param {string} text
 */
function line(id, text) {
  element(id).textContent = text;
  element(id).hidden = !text;
}

/** @param {string} text */
function showError(text) {
  isFaulty = true;
  line("error", text);
  element("status").textContent = "";
}

/**
 * Put files into the list, and open the first.
 * @param {Item[]} found
 */
function take(found) {
  if (!found.length) return;
  items = found;
  const list = items.map(({ name }, number) => {
    const one = document.createElement("button");
    one.type = "button";
    one.textContent = name;
    one.onclick = () => open(number, true);
    const entry = document.createElement("li");
    entry.append(one);
    return entry;
  });
  element("list").replaceChildren(...list);
  for (const id of ["files", "previous", "next"]) element(id).hidden = items.length < 2;
  open(0, false);
}

/**
 * @param {number} number of the item
 * @param {boolean} isPlaying whether it plays as soon as it can
 */
function open(number, isPlaying) {
  current = number;
  const { name } = items[number];
  isFaulty = false;
  waveform = new Waveform();
  isStale = true;
  for (const id of ["artist", "facts", "error", "hint"]) line(id, "");
  picture.hidden = true;
  element("title").textContent = name;
  document.title = `${name} · ncodec player`;
  element("status").textContent = "Loading …";
  button("play").disabled = false;
  input("seek").disabled = true;
  button("previous").disabled = number === 0;
  button("next").disabled = number === items.length - 1;
  element("list").querySelectorAll("button").forEach((one, i) => {
    if (i === number) one.setAttribute("aria-current", "true");
    else one.removeAttribute("aria-current");
  });
  engine.open(items[number], isPlaying);
}

/** @param {any} header */
function showHeader(header) {
  const title = tag(header, "TITLE") || items[current].name;
  element("title").textContent = title;
  document.title = `${title} · ncodec player`;
  line("artist", tag(header, "ARTIST"));
  line("facts", facts(header));
  const image = cover(header);
  if (image) {
    URL.revokeObjectURL(picture.src);
    picture.src = URL.createObjectURL(new Blob([image.data], { type: image.mediaType }));
    picture.alt = image.description || "Cover";
    picture.onerror = () => (picture.hidden = true);
    picture.hidden = false;
  }
  showLength();
}

function showLength() {
  input("seek").disabled = engine.durationS === null;
  input("seek").max = String(engine.durationS ?? 0);
  isStale = true;
}

/** Play the next file; after the last, be ready to play it again. */
function goOn() {
  if (!isFaulty && current + 1 < items.length) open(current + 1, true);
  else engine.seek(0);
}

function toggle() {
  if (!items.length) return;
  if (engine.isPlaying) engine.pause();
  else engine.play();
}

function setVolume() {
  const level = Number(input("volume").value);
  engine.volume = isMuted ? 0 : level;
  button("mute").setAttribute("aria-pressed", String(isMuted));
  icon("mute", isMuted || !level ? ICONS.mute : ICONS.loud);
  input("volume").setAttribute("aria-valuetext", `${Math.round(100 * level)} %`);
}

/**
 * @param {string} id
 * @param {string} path
 */
function icon(id, path) {
  element(id).querySelector("path")?.setAttribute("d", path);
}

function show() {
  const seek = input("seek");
  const place = isSeeking ? Number(seek.value) : engine.place;
  const whole = engine.durationS;
  if (!isSeeking) seek.value = String(place);
  const text = whole === null ? clock(place) : `${clock(place)} / ${clock(whole)}`;
  if (element("time").textContent !== text) {
    element("time").textContent = text;
    seek.setAttribute("aria-valuetext", whole === null ? text : `${clock(place)} of ${clock(whole)}`);
  }
  const label = engine.isPlaying ? "Pause" : "Play";
  if (button("play").getAttribute("aria-label") !== label) {
    button("play").setAttribute("aria-label", label);
    icon("play", engine.isPlaying ? ICONS.pause : ICONS.play);
  }
  if (engine.isReady && element("status").textContent) element("status").textContent = "";
  drawWave(canvas, waveform, whole ?? Math.max(1, waveform.seconds), place, isStale);
  isStale = false;
  requestAnimationFrame(show);
}

/** @param {KeyboardEvent} event */
function obeyKey(event) {
  const { target, key } = event;
  if (event.ctrlKey || event.altKey || event.metaKey || !items.length) return;
  const isSlider = target instanceof HTMLInputElement;
  if (key === " " && !(target instanceof HTMLButtonElement)) toggle();
  else if (key === "ArrowLeft" && target !== input("volume")) engine.seek(engine.place - STEP_S);
  else if (key === "ArrowRight" && target !== input("volume")) engine.seek(engine.place + STEP_S);
  else if (key === "m" && !(isSlider && target.type === "text")) button("mute").click();
  else return;
  event.preventDefault();
}

/** @param {FileList | undefined} files */
function takeFiles(files) {
  take(Array.from(files ?? [], (blob) => ({ name: blob.name, blob })));
}

button("play").onclick = toggle;
button("previous").onclick = () => open(current - 1, engine.isPlaying);
button("next").onclick = () => open(current + 1, engine.isPlaying);
button("mute").onclick = () => {
  isMuted = !isMuted;
  setVolume();
};
input("volume").oninput = () => {
  isMuted = false;
  setVolume();
};
input("seek").oninput = () => (isSeeking = true);
input("seek").onchange = () => {
  isSeeking = false;
  engine.seek(Number(input("seek").value));
};
input("file").onchange = () => takeFiles(input("file").files ?? undefined);
document.ondragover = (event) => {
  event.preventDefault();
  document.body.classList.add("dropping");
};
document.ondragleave = () => document.body.classList.remove("dropping");
document.ondrop = (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  takeFiles(event.dataTransfer?.files);
};
document.onkeydown = obeyKey;
window.onresize = () => (isStale = true);
matchMedia("(prefers-color-scheme: dark)").onchange = () => (isStale = true);

setVolume();
show();
site.then(
  ({ files }) => {
    const names = new URLSearchParams(location.search).getAll("file");
    try {
      if (!items.length) take(namedItems(names.length ? names : files));
    } catch (error) {
      showError(/** @type {Error} */ (error).message);
    }
  },
  (error) => showError(error.message),
);
