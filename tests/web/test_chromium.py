"""The player's page in Chromium: it plays, seeks, takes files, and says what is wrong with them."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chromium import Chromium, Page, find_chromium
from page_server import PageServer, serve
from web_files import repacked, sound

import ncodec
from ncodec.errors import ChecksumMismatch
from ncodec.web.server import SiteServer
from ncodec.web.single_page import single_page
from ncodec.web.site import make_site

SAMPLES = Path(__file__).parents[2] / "samples"
MONO, STEREO = (SAMPLES / f"music_{kind}.1_5kbps.ncx" for kind in ("mono", "stereo"))
PLACE = "Number(document.getElementById('seek').value)"
IS_READY = (
    "!document.getElementById('seek').disabled && !document.getElementById('status').textContent"
)
HAS_ERROR = "!document.getElementById('error').hidden"
BLOCK_BYTES = 1 << 14
"""That are asked for at least: see web/ncx/http.js."""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    program = find_chromium()
    if program is None:
        pytest.skip("no chromium")
    with Chromium(program, tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def server() -> Iterator[PageServer]:
    with serve() as server:
        server.beside = {path.name: path.read_bytes() for path in (MONO, STEREO)}
        yield server


def plays_beyond(page: Page, seconds: float) -> None:
    page.wait_for(f"{PLACE} > {seconds}")
    assert not page.evaluate(HAS_ERROR), page.text("error")


def test_a_file_beside_the_page_plays_and_seeks(browser: Chromium, server: PageServer) -> None:
    page = browser.page(f"{server.url}?file={MONO.name}")
    page.wait_for(IS_READY)
    assert page.text("title") == "music mono"
    assert page.text("artist") == "ncodec samples"
    assert page.text("time") == "0:00 / 0:05"
    assert "model spectral" in page.text("facts")
    assert "transformer coder" in page.text("facts")
    page.click("#play")
    plays_beyond(page, 0.2)
    page.wait_for("document.getElementById('play').ariaLabel === 'Pause'")
    page.click("#wave + input")  # the middle
    plays_beyond(page, 2.8)
    page.key("ArrowLeft")
    page.wait_for(f"{PLACE} < 1.5")
    page.key(" ")
    page.wait_for("document.getElementById('play').ariaLabel === 'Play'")
    assert page.faults() == []
    page.close()


def test_the_next_file_plays_by_itself(browser: Chromium, server: PageServer) -> None:
    page = browser.page(f"{server.url}?file={MONO.name}&file={STEREO.name}")
    page.wait_for(IS_READY)
    listed = "[...document.querySelectorAll('#list button')].map((one) => one.textContent)"
    assert page.evaluate(listed) == [MONO.name, STEREO.name]
    page.evaluate("document.getElementById('seek').focus()")
    page.evaluate(
        "((seek) => { seek.value = 5.2; seek.onchange(); })(document.getElementById('seek'))"
    )
    page.click("#play")
    page.wait_for("document.getElementById('title').textContent === 'music stereo'")
    plays_beyond(page, 0.1)
    assert "stereo" in page.text("facts")
    page.close()


def test_files_are_dropped_and_chosen(browser: Chromium, server: PageServer) -> None:
    page = browser.page(server.url)
    page.drop([STEREO])
    page.wait_for(IS_READY)
    assert page.text("title") == "music stereo"
    page.choose("#file", [MONO])
    page.wait_for(f"document.getElementById('title').textContent === 'music mono' && {IS_READY}")
    page.click("#play")
    plays_beyond(page, 0.1)
    assert page.faults() == []
    page.close()


def test_errors_are_said_as_the_command_line_says_them(
    browser: Chromium, server: PageServer, tmp_path: Path
) -> None:
    damaged = bytearray(MONO.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (tmp_path / "damaged.ncx").write_bytes(damaged)
    with pytest.raises(ChecksumMismatch) as refused:
        ncodec.decode(tmp_path / "damaged.ncx")
    server.beside["damaged.ncx"] = bytes(damaged)
    server.beside["other.ncx"] = b"<b>not a file</b>"
    page = browser.page(f"{server.url}?file=damaged.ncx")
    page.wait_for(HAS_ERROR)
    assert page.text("error") == str(refused.value).removeprefix(f"{tmp_path}/")
    for name, wanted in (
        ("other.ncx", "other.ncx: header at byte 0: not an .ncx file"),
        ("missing.ncx", "missing.ncx: cannot be read: 404"),
        ("http://127.0.0.1:1/x.ncx", "is at another host than the page"),
    ):
        page = browser.page(f"{server.url}?file={name}")
        page.wait_for(HAS_ERROR)
        assert wanted in page.text("error")
        page.close()


@pytest.fixture
def long_file(tmp_path: Path) -> bytes:
    """Ten minutes: more bytes than the page may read for what it plays of them."""
    part = tmp_path / "part.ncx"
    wav = sound(1, 24000, 20)
    options: dict[str, Any] = {"bandwidth_kbps": 12, "entropy": "packed", "effort": "fast"}
    part.write_bytes(ncodec.encode(wav, 24000, **options))
    return repacked(tmp_path, "--join", *[str(part)] * 30)


def test_of_a_long_file_only_ranges_are_read(
    browser: Chromium, server: PageServer, long_file: bytes
) -> None:
    server.beside["long.ncx"] = long_file
    page = browser.page(f"{server.url}?file=long.ncx")
    page.wait_for(IS_READY)
    assert page.text("time") == "0:00 / 10:00"
    page.click("#play")
    plays_beyond(page, 0.2)
    page.click("#seek")  # the middle
    plays_beyond(page, 300.2)
    read = server.sent["/web/long.ncx"]
    assert read <= 10 * BLOCK_BYTES < len(long_file) / 2, (read, len(long_file))
    page.close()


def test_a_server_without_ranges_gives_the_whole_file(
    browser: Chromium, server: PageServer
) -> None:
    server.has_ranges = False
    page = browser.page(f"{server.url}?file={STEREO.name}")
    page.wait_for(IS_READY)
    page.click("#play")
    plays_beyond(page, 0.1)
    assert server.sent[f"/web/{STEREO.name}"] == STEREO.stat().st_size
    page.close()


def test_an_exported_site_plays(browser: Chromium, tmp_path: Path) -> None:
    name = "50 % & \u00fc.ncx"
    (tmp_path / name).write_bytes(MONO.read_bytes())
    with SiteServer(make_site([tmp_path / name, STEREO], [])) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = browser.page(server.url)
        page.wait_for(IS_READY)
        first = "document.querySelector('#list button').textContent"
        assert page.evaluate(first) == name
        page.click("#play")
        plays_beyond(page, 0.1)
        assert page.faults() == []
        page.close()
        server.shutdown()


def test_a_single_file_plays_where_it_lies(browser: Chromium, tmp_path: Path) -> None:
    path = tmp_path / "song.html"
    path.write_bytes(b"".join(single_page(make_site([MONO], []))))
    page = browser.page(path.as_uri())
    page.wait_for(IS_READY)
    assert page.text("title") == "music mono"
    page.click("#play")
    plays_beyond(page, 0.1)
    page.click("#wave + input")  # the middle
    plays_beyond(page, 2.6)
    page.drop([STEREO])
    page.wait_for(f"document.getElementById('title').textContent === 'music stereo' && {IS_READY}")
    assert page.faults() == []
    page.close()


@pytest.mark.parametrize("width", [360, 1000])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_its_window(
    browser: Chromium, server: PageServer, tmp_path: Path, width: int, scheme: str
) -> None:
    """Nothing is wider than the window, and light and dark differ; pictures are left to look at."""
    page = browser.page(f"{server.url}?file={MONO.name}&file={STEREO.name}")
    page.show_as(width, 720, scheme)
    page.wait_for(IS_READY)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    shade = int(ground.removeprefix("rgb(").split(",")[0])
    assert (shade > 127) == (scheme == "light")
    unnamed = "[...document.querySelectorAll('button, input, img:not([hidden])')].filter((one) => "
    unnamed += "!(one.ariaLabel || one.textContent.trim() || one.alt || one.labels?.length))"
    assert page.evaluate(f"{unnamed}.length") == 0
    page.screenshot(tmp_path / f"{width}-{scheme}.png")
    page.close()
