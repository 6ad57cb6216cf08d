"""The page's worker and its playback, without a browser."""

from pathlib import Path

from node_runs import run_node

SAMPLE = Path(__file__).parents[2] / "samples" / "music_mono.1_5kbps.ncx"


def test_the_worker_decodes_and_the_playback_keeps_time() -> None:
    whole, other, played = run_node("page.mjs", SAMPLE)
    assert whole["kinds"] == ["header", *["audio"] * (len(whole["kinds"]) - 2), "end"]
    assert whole["tags"][0] == ["TITLE", "music mono"]
    assert whole["nSamples"] == 134769
    ((kind, text),) = other
    assert kind == "error"
    assert text.startswith("other.ncx: header at byte 0: not an .ncx file")
    assert played["started"] == [
        [10, 0, 1.0], [11, 0, 0.5], [11.5, 0, 2.0], [10, 0.25, 0.5], [10.25, 0, 2.0],
    ]  # fmt: skip
    assert played["arrived"] == 3.5
    assert played["place"] == 1.25
