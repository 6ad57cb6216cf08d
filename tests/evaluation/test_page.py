"""The report's files, and the page in a browser."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from stubs import NoiseCoder, make_clip

from ncodec.errors import OutputExists
from ncodec.evaluation import (
    Excerpt,
    Report,
    RoundTrip,
    as_json,
    choose_metrics,
    evaluate,
    find_clips,
    markdown_table,
    write_report,
)

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PROBE = """<script>addEventListener("load", async () => {
  const sounds = [...document.querySelectorAll("audio")];
  await Promise.all(sounds.map((sound) => new Promise((done) => {
    if (sound.readyState >= 1 || sound.error) done();
    sound.addEventListener("loadedmetadata", done);
    sound.addEventListener("error", done);
  })));
  const sorted = document.querySelector("table.sortable");
  sorted.tHead.rows[0].cells[3].querySelector("button").click();
  document.title = JSON.stringify({
    widths: [...document.images].map((image) => image.complete && image.naturalWidth),
    seconds: sounds.map((sound) => sound.duration),
    fetched: performance.getEntriesByType("resource").length,
    rates: [...sorted.tBodies[0].rows].map((row) => Number(row.cells[3].dataset.value)),
  });
});</script></head>"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder = tmp_path_factory.mktemp("clips")
    names = ("speech/a<b>.wav", "speech/b.wav", "music/c.wav")
    paths = [make_clip(folder / name, seed=seed) for seed, name in enumerate(names)]
    (folder / "music" / "bad.wav").write_text("<no> audio")
    clips = find_clips([*paths, folder / "music" / "bad.wav"])
    coders = [NoiseCoder("one", 1.0), NoiseCoder("one", 4.0), NoiseCoder("opus", 2.0)]
    metrics = choose_metrics(["si_sdr", "stft_distance", "stoi"])[0]
    return Report(evaluate(clips, coders, metrics, Excerpt(1.5)), [], Excerpt(1.5), ["a <note>"])


@pytest.fixture(scope="module")
def folder(report: Report, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("made") / "new" / "report"
    write_report(report, place)
    return place


def test_a_report_is_not_replaced_unasked(report: Report, folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(OutputExists):
        write_report(report, folder)
    write_report(report, folder, overwrite=True)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_json_and_csv_tell_the_same(report: Report, folder: Path) -> None:
    told = json.loads((folder / "report.json").read_text())
    assert told == json.loads(json.dumps(as_json(report)))
    assert told["notes"] == ["a <note>"]
    assert len(told["problems"]) == 1
    with (folder / "rows.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(told["rows"]) == 9
    for row, line in zip(told["rows"], rows, strict=True):
        assert float(line["kbps"]) == row["kbps"]
        assert [line["clip"], float(line["si_sdr"])] == [row["clip"], row["scores"]["si_sdr"]]
    with (folder / "summary.csv").open(newline="") as file:
        means = list(csv.DictReader(file))
    assert [(line["group"], line["codec"], line["n_clips"]) for line in means] == [
        ("music", "one", "1"), ("music", "one", "1"), ("music", "opus", "1"),
        ("speech", "one", "2"), ("speech", "one", "2"), ("speech", "opus", "2"),
    ]  # fmt: skip
    speech = [row["scores"]["si_sdr"] for row in told["rows"] if row["group"] == "speech"]
    assert float(means[3]["si_sdr"]) == pytest.approx((speech[0] + speech[3]) / 2, abs=1e-5)
    assert float(means[3]["si_sdr_low"]) <= float(means[3]["si_sdr"])
    assert means[0]["si_sdr_low"] == means[0].get("stoi", "") == ""


def test_markdown_table(report: Report) -> None:
    lines = markdown_table(report)
    assert len(lines) == 2 + 6
    assert len({line.count("|") for line in lines}) == 1
    assert lines[2].startswith("| music (1) | one | 1 | 1.27 | 0.27 | ")


class Tags(HTMLParser):
    """All tags of a page with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_page_needs_nothing_beside_it(folder: Path) -> None:
    text = (folder / "index.html").read_text()
    tags = Tags(text).found
    sources = [str(attrs["src"]) for _, attrs in tags if "src" in attrs]
    assert sources
    assert all(re.match(r"data:(image/png|audio/flac);base64,", source) for source in sources)
    assert not [attrs for _, attrs in tags if "href" in attrs]
    assert "http" not in re.sub(r'src="data:[^"]*"', "", text)
    assert "a&lt;b&gt;.wav" in text
    assert "a <note>" not in text
    assert sum(tag == "audio" for tag, _ in tags) == 3 * 4


def test_plots_are_files_too(folder: Path) -> None:
    pytest.importorskip("matplotlib")
    made = {path.name for path in folder.glob("*.png")}
    assert {"si_sdr.png", "stft_distance.png"} <= made
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in folder.glob("*.png"))


def test_without_matplotlib(
    report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    write_report(report, tmp_path)
    assert not list(tmp_path.glob("*.png"))
    tags = [tag for tag, _ in Tags((tmp_path / "index.html").read_text()).found]
    assert ("img" in tags, tags.count("audio")) == (False, 12)


def test_names_and_channels_that_few_have(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "odd.wav", seconds=0.2, channels=12)
    odd = clip.rename(tmp_path / os.fsdecode(b"odd\xff.wav"))

    class Through(NoiseCoder):
        def code(self, wav: np.ndarray, sample_rate_hz: int) -> RoundTrip:
            return RoundTrip(wav, 100, 50, 1.0, 1.0)

    metrics = choose_metrics(["si_sdr"])[0]
    done = evaluate(find_clips([odd]), [Through("one", 1.0)], metrics, Excerpt())
    write_report(Report(done, [], Excerpt(), []), tmp_path / "report")
    assert "odd\\udcff.wav" in (tmp_path / "report" / "index.html").read_text()
    assert "odd\\udcff.wav" in (tmp_path / "report" / "rows.csv").read_text()


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not there")
def test_the_page_in_a_browser(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    page = tmp_path / "page.html"
    page.write_text((folder / "index.html").read_text().replace("</head>", PROBE, 1))
    ran = subprocess.run(
        [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=20000", "--dump-dom",
         page.as_uri()],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    title = re.search("<title>(.*?)</title>", ran.stdout)
    assert title is not None
    seen = json.loads(title[1])
    n_plots = len(list(folder.glob("*.png")))
    assert len(seen["widths"]) == n_plots + 12
    assert all(seen["widths"])
    assert seen["seconds"] == pytest.approx([1.5] * 12)
    assert seen["fetched"] == 0
    assert seen["rates"] == sorted(seen["rates"])
