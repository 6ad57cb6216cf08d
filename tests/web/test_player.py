"""The page's worker and its worklet, without a browser."""

from pathlib import Path

import pytest
from node_runs import run_node

SAMPLE = Path(__file__).parents[2] / "samples" / "music_mono.1_5kbps.ncx"
N_SAMPLES = 134769
ROOM = 30000


@pytest.mark.quick
def test_the_worker_decodes_no_more_than_there_is_room_for() -> None:
    header, whole, part, other, worklet = run_node("page.mjs", SAMPLE)
    assert header["tags"][0] == ["TITLE", "music mono"]
    assert [model["kind"] for model in header["wanted"]] == ["codec", "entropy"]
    assert header["durationS"] == pytest.approx(N_SAMPLES / 24000)
    for found, place in ((whole, 0), (part, 100000)):
        assert found["place"] == place
        assert found["n"] == N_SAMPLES - place
        assert found["nSamples"] == N_SAMPLES
        assert 0 < found["most"] <= ROOM
        assert found["isLoudest"]
    assert other.startswith("other.ncx: header at byte 0: not an .ncx file")
    assert worklet == {
        "isSilent": True, "isWhole": True, "isInOrder": True, "taken": 176, "next": 7,
        "over": {"run": 1, "place": 200, "isOver": True},
    }  # fmt: skip
