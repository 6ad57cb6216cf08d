"""`ncodec batch --gapless`: the files of a folder as tracks that follow each other."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from trees import Ran, contents, convert, make_audio

from ncodec.batch.albums import ALONE, track_order
from ncodec.batch.work_units import Item, WorkUnit, make_work_units
from ncodec.errors import UsageError
from ncodec.formats.ncx import Reader

TRACKS = ("1 a", "2 b", "10 c")


def make_album(folder: str = "lib/album", names: tuple[str, ...] = TRACKS) -> None:
    for seed, name in enumerate(names):
        make_audio(f"{folder}/{name}.wav", 9000, seed=seed)


def joined(folder: str) -> dict[str, bool]:
    """Return of which files the audio starts within a run."""
    found: dict[str, bool] = {}
    for path in Path(folder).rglob("*.ncx"):
        with path.open("rb") as stream:
            edits = Reader(stream).header.edits
        found[path.relative_to(folder).as_posix()] = bool(edits and edits[0].first_sample)
    return found


def test_what_encode_makes(run: Callable[..., Ran], batch: Callable[..., Ran]) -> None:
    make_album()
    make_audio("lib/cover.flac", 3000)
    ran = run("encode", "-m", "tiny", "--gapless", *(f"lib/album/{name}.wav" for name in TRACKS),
              "-o", "album/")  # fmt: skip
    assert ran.code == 0
    lines = ran.err.splitlines()
    assert [("goes on from the one before" in line) for line in lines] == [False, True, True]
    assert batch("--gapless", "lib", "small").code == 0
    made = contents(Path("small"))
    assert {name: made.pop(f"album/{name}.ncx") for name in TRACKS} == {
        name: Path(f"album/{name}.ncx").read_bytes() for name in TRACKS
    }
    run("encode", "-m", "tiny", "lib/cover.flac", "-o", "cover.ncx")
    assert made == {"cover.ncx": Path("cover.ncx").read_bytes()}
    assert joined("small") == {
        "album/1 a.ncx": False, "album/2 b.ncx": True, "album/10 c.ncx": True, "cover.ncx": False,
    }  # fmt: skip


def test_an_album_is_done_again_as_a_whole(batch: Callable[..., Ran]) -> None:
    make_album()
    make_album("lib/other")
    assert batch("--gapless", "-q", "lib", "small").code == 0
    before = contents(Path("small"))
    assert [one.status for one in convert("lib", "small", model="tiny", gapless=True)] == [
        "skipped"
    ] * 6
    soundfile.write("lib/album/2 b.wav", np.full(9000, 0.1), 8000)
    outcomes = {one.source: one.status for one in convert("lib", "small", model="tiny",
                                                          gapless=True, n_workers=0)}  # fmt: skip
    assert outcomes == {f"album/{name}.wav": "done" for name in TRACKS} | {
        f"other/{name}.wav": "skipped" for name in TRACKS
    }
    after = contents(Path("small"))
    assert {name for name in before if before[name] != after[name]} == {
        f"album/{name}.ncx" for name in TRACKS
    }


def test_content_that_is_the_same_is_not_done_again() -> None:
    make_album()
    [*convert("lib", "small", model="tiny", gapless=True, n_workers=0)]
    options = {"model": "tiny", "gapless": True, "checksum": True, "n_workers": 0}
    os.utime("lib/album/2 b.wav")
    assert [one.status for one in convert("lib", "small", **options)] == ["skipped"] * 3
    make_audio("lib/album/2 b.wav", 9000, seed=7)
    assert [one.status for one in convert("lib", "small", **options)] == ["done"] * 3


def test_other_settings_are_others() -> None:
    make_album()
    [*convert("lib", "small", model="tiny", n_workers=0)]
    assert not any(joined("small").values())
    outcomes = convert("lib", "small", model="tiny", gapless=True, n_workers=0)
    assert [one.status for one in outcomes] == ["done"] * 3
    assert sum(joined("small").values()) == 2


def test_what_is_left_out_ends_an_album() -> None:
    make_album(names=("1 a", "2 b", "3 c", "4 d"))
    Path("small/album").mkdir(parents=True)
    Path("small/album/2 b.ncx").write_bytes(b"mine")
    outcomes = [*convert("lib", "small", model="tiny", gapless=True, n_workers=0)]
    assert {one.source: one.status for one in outcomes if one.status == "failed"} == {
        "album/2 b.wav": "failed"
    }
    Path("small/album/2 b.ncx").unlink()
    assert joined("small/album") == {"1 a.ncx": False, "3 c.ncx": False, "4 d.ncx": True}


def test_one_that_fails_is_named_and_the_others_are_made(batch: Callable[..., Ran]) -> None:
    make_album(names=("1 a", "2 b", "3 c", "4 d"))
    whole = Path("lib/album/3 c.wav").read_bytes()
    Path("lib/album/3 c.wav").write_bytes(whole[:5000])
    ran = batch("--gapless", "lib", "small")
    assert ran.code == 1
    assert "album/3 c.wav: truncated" in ran.err
    assert joined("small/album") == {"1 a.ncx": False, "2 b.ncx": True, "4 d.ncx": False}


def test_workers_make_the_same() -> None:
    make_album()
    make_album("lib/other", names=("1", "2"))
    [*convert("lib", "one", model="tiny", gapless=True, n_workers=0)]
    outcomes = [*convert("lib", "two", model="tiny", gapless=True, n_workers=2, verify=True)]
    assert all(one.status == "done" and not one.remarks for one in outcomes)
    assert contents(Path("two")) == contents(Path("one"))


DEADLY = """
import os, signal
from pathlib import Path
from ncodec.batch.encoder import Encoder
album = Encoder.album
def deadly(self, sources, on_progress):
    if any("deadly" in name for name, _ in sources):
        with Path("deaths").open("a") as file:
            file.write("x")
        os.kill(os.getpid(), signal.SIGKILL)
    return album(self, sources, on_progress)
Encoder.album = deadly
"""


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_an_album_that_ends_its_worker_is_done_file_by_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_album()
    make_album("lib/deadly", names=("1", "2"))
    Path("custom").mkdir()
    Path("custom/sitecustomize.py").write_text(DEADLY)
    monkeypatch.setattr(sys, "path", [str(Path("custom").resolve()), *sys.path])
    outcomes = {one.source: one for one in convert("lib", "small", model="tiny", gapless=True,
                                                   n_workers=1)}  # fmt: skip
    assert {one.status for one in outcomes.values()} == {"done"}
    assert Path("deaths").read_text() == "xx"
    assert [outcomes[f"deadly/{name}.wav"].remarks for name in "12"] == [(ALONE,)] * 2
    assert joined("small/deadly") == {"1.ncx": False, "2.ncx": False}
    assert joined("small/album") == {f"{name}.ncx": name != "1 a" for name in TRACKS}


def test_only_for_encoding(batch: Callable[..., Ran]) -> None:
    Path("lib").mkdir()
    ran = batch("--decode", "--gapless", "lib", "small")
    assert (ran.code, "--gapless is for encoding" in ran.err) == (2, True)
    with pytest.raises(UsageError, match="^gapless: is for encoding$"):
        convert("lib", "small", decode=True, gapless=True)


def test_tracks_are_in_the_order_of_their_numbers() -> None:
    names = ["b/2.wav", "b/10.wav", "a/CD10 01.wav", "a/CD2 01.wav", "b/x.wav", "b/1 z.wav"]
    assert sorted(names, key=track_order) == [
        "a/CD2 01.wav", "a/CD10 01.wav", "b/1 z.wav", "b/2.wav", "b/10.wav", "b/x.wav",
    ]  # fmt: skip


def test_albums_are_units_of_their_own() -> None:
    items = [Item(str(n), str(n), 10 * n, 0, album=n // 2) for n in range(4)]
    single = Item("copy", "copy", 1, 0, is_copy=True)
    assert make_work_units([*items, single], 4, decode=False) == [
        WorkUnit((items[2], items[3]), is_album=True),
        WorkUnit((items[0], items[1]), is_album=True),
        WorkUnit((single,)),
    ]
