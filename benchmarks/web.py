"""Speed of the player's decoder in Node and in Chromium, on one thread, and of its page.

    python benchmarks/web.py [--kbps 6] [--seconds 60]

The figure is seconds of audio per second of processor time, of all that Node does meanwhile or of
the thread of Chromium that decodes, best of some runs; the library's own is beside it. Of the page:
bytes until a first visitor can play, and the time from a click to sound, of a file that was opened
and of a place that was not decoded before; median, by the clock.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests" / "web"))

from chromium import Chromium, Page, find_chromium
from page_server import serve
from speed import RATE_HZ, gflops, test_signal

import ncodec
from ncodec.hub.model_files import SHIPPED
from ncodec.native.threads import set_n_threads

HERE = Path(__file__).parent
WASM = HERE.parent / "web" / "ncodec.wasm"
MODELS = (SHIPPED / "spectral.safetensors", SHIPPED / "entropy" / "spectral.safetensors")
CODERS = ("transformer", "adaptive", "packed")


def by_library(blob: bytes, repeats: int) -> float:
    """Return the processor seconds of the library's fastest decoding."""
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        ncodec.decode(blob)
        best = min(best, time.process_time() - start)
    return best


IS_READY = (
    "!document.getElementById('seek').disabled && !document.getElementById('status').textContent"
)
SOUND = "performance.getEntriesByName('ncodec-sound')"
DECODE = """(async () => {
    const { decode, Kernel, Models } = await import("./ncodec.js");
    const bytes = async (name) => new Uint8Array(await (await fetch(name)).arrayBuffer());
    const weights = "../ncodec/weights/";
    if (!globalThis.models) {
        globalThis.models = new Models(await Kernel.load(fetch("ncodec.wasm")));
        await models.add(await bytes(weights + "spectral.safetensors"));
        await models.add(await bytes(weights + "entropy/spectral.safetensors"));
    }
    return (await decode(await bytes(NAME), models)).channels[0].length;
})()"""


def thread_seconds(page: Page) -> float:
    """Return the processor seconds of the page's main thread so far."""
    metrics = page.send("Performance.getMetrics")["metrics"]
    return next(one["value"] for one in metrics if one["name"] == "ThreadTime")


def until_sound(page: Page, action: str) -> float:
    """Return the milliseconds from an action of the page to its first sound."""
    start = page.evaluate(f"performance.clearMarks(), performance.now() + 0 * ({action}, 0)")
    page.wait_for(f"{SOUND}.length > 0")
    return page.evaluate(f"{SOUND}[0].startTime") - start


def in_chromium(blobs: list[bytes], repeats: int) -> dict[str, list[float]]:
    """Return what Chromium takes for files of each coder; nothing where there is none.

    The keys are seconds `decode`, bytes `visit`, and milliseconds `click` and `seek` to sound.
    """
    program = find_chromium()
    found: dict[str, list[float]] = {"decode": [], "visit": [], "click": [], "seek": []}
    if program is None:
        return {}
    seek = "((seek) => { seek.value = 0.6 * seek.max; seek.onchange(); })"
    with tempfile.TemporaryDirectory() as folder, serve() as server:
        names = [f"{entropy}.ncx" for entropy in CODERS]
        server.beside = dict(zip(names, blobs, strict=True))
        with Chromium(program, Path(folder)) as browser:
            for name in names:
                clicks, seeks, decodings, visit = [], [], [], 0
                for _ in range(repeats):
                    server.sent.clear()
                    page = browser.page(f"{server.url}?file={name}")
                    page.wait_for(IS_READY)
                    visit = sum(server.sent.values())
                    time.sleep(1)  # until the first packet is decoded, as for a person
                    clicks.append(until_sound(page, "document.getElementById('play').click()"))
                    seeks.append(until_sound(page, f"{seek}(document.getElementById('seek'))"))
                    page.close()
                page = browser.page(server.url)
                page.send("Performance.enable", timeDomain="threadTicks")
                for _ in range(repeats):
                    before = thread_seconds(page)
                    page.evaluate(DECODE.replace("NAME", json.dumps(name)))
                    decodings.append(thread_seconds(page) - before)
                page.close()
                found["decode"].append(min(decodings))
                found["visit"].append(visit)
                found["click"].append(statistics.median(clicks))
                found["seek"].append(statistics.median(seeks))
    return found


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kbps", type=float, default=6)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--repeats", type=int, default=4)
    given = parser.parse_args()
    set_n_threads(1)
    wav = test_signal(given.seconds)
    blobs = [
        ncodec.encode(wav, RATE_HZ, bandwidth_kbps=given.kbps, entropy=entropy, effort="fast")
        for entropy in CODERS
    ]
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{entropy}.ncx" for entropy in CODERS]
        for path, blob in zip(paths, blobs, strict=True):
            path.write_bytes(blob)
        script = [HERE / "web.mjs", WASM, given.repeats, *MODELS, *paths]
        ran = subprocess.run(["node", *map(str, script)], check=True, stdout=subprocess.PIPE)
    said = json.loads(ran.stdout)
    sys.stdout.write(f"node {said['node']}, {gflops():.0f} GFLOP/s of NumPy; ")
    sys.stdout.write(f"kernel and models load in {said['loading']:.2f} s\n")
    page = in_chromium(blobs, given.repeats)
    sys.stdout.write("| kbps | entropy coder | Node | Chromium | ncodec |\n|---|---|---|---|---|\n")
    for number, (entropy, blob) in enumerate(zip(CODERS, blobs, strict=True)):
        node = given.seconds / said["found"][number]
        chromium = f"{given.seconds / page['decode'][number]:.0f}" if page else "-"
        library = given.seconds / by_library(blob, given.repeats)
        row = f"| {given.kbps:g} | {entropy} | {node:.0f} | {chromium} | {library:.0f} |\n"
        sys.stdout.write(row)
    for number, entropy in enumerate(CODERS if page else ()):
        visit, click, seek = (page[key][number] for key in ("visit", "click", "seek"))
        times = f"{click:.0f} ms from a click to sound, {seek:.0f} ms from a seek"
        sys.stdout.write(f"{entropy}: {visit:.0f} bytes until it can play; {times}\n")


if __name__ == "__main__":
    main()
