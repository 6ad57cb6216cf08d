"""What files are called, and which are taken."""

import pytest

from ncodec.batch import names
from ncodec.batch.names import is_source, is_wanted, targets_for
from ncodec.formats.audio_files import READABLE


@pytest.mark.quick
@pytest.mark.parametrize(
    ("sources", "suffix", "expected"),
    [
        (["a/song.flac"], ".ncx", ["a/song.ncx"]),
        (["a.b/song.one.FLAC"], ".ncx", ["a.b/song.one.ncx"]),
        (["song.flac", "song.wav"], ".ncx", ["song.flac.ncx", "song.wav.ncx"]),
        (["a/song.flac", "b/song.wav"], ".ncx", ["a/song.ncx", "b/song.ncx"]),
        (["Song.flac", "song.wav"], ".ncx", ["Song.flac.ncx", "song.wav.ncx"]),
        (["é.flac", "e\u0301.wav"], ".ncx", ["é.flac.ncx", "e\u0301.wav.ncx"]),
        (
            ["s.flac", "s.wav", "s.flac.wav"],
            ".ncx",
            ["s.flac.ncx", "s.wav.ncx", "s.flac.wav.ncx"],
        ),
        (["song.ncx"], ".flac", ["song.flac"]),
        (["song.flac.ncx", "song.wav.ncx"], ".flac", ["song.flac", "song.wav.flac"]),
        (["song.FLAC.ncx"], ".flac", ["song.FLAC"]),
        (["song.ncx", "song.flac.ncx"], ".flac", ["song.ncx.flac", "song.flac.ncx.flac"]),
    ],
)
def test_targets(sources: list[str], suffix: str, expected: list[str]) -> None:
    assert targets_for(sources, [], suffix) == dict(zip(sources, expected, strict=True))
    assert targets_for(sources[::-1], [], suffix) == dict(zip(sources, expected, strict=True))


def test_other_files_keep_their_names() -> None:
    assert targets_for(["a.flac"], ["a.ncx"], ".ncx") == {"a.flac": "a.flac.ncx"}
    assert targets_for(["a.flac"], ["a.ncx", "A.flac.ncx"], ".ncx") == {"a.flac": None}


@pytest.mark.quick
@pytest.mark.parametrize(
    ("path", "decode", "expected"),
    [
        ("a.wav", False, True),
        ("x/A.FlaC", False, True),
        ("a.ncx", False, False),
        ("a.ncx", True, True),
        ("a.wav", True, False),
        ("a.m4a", True, False),
        ("a.txt", False, False),
        (".wav", False, False),
        ("._a.wav", False, False),
        ("wav", False, False),
        ("x.wav/notes", False, False),
    ],
)
def test_what_is_a_source(path: str, decode: bool, expected: bool) -> None:
    assert is_source(path, decode=decode) is expected


def test_ffmpeg_reads_more(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_source("x/a.M4A", decode=False)
    monkeypatch.setattr(names, "readable", lambda: READABLE)
    assert not is_source("x/a.M4A", decode=False)
    assert is_source("x/a.mp3", decode=False)


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        ([], [], True),
        (["*.wav"], [], True),
        (["*.flac"], [], False),
        (["*.flac", "pop/*"], [], True),
        (["live"], [], True),
        (["pop/live"], [], True),
        (["pop/li"], [], False),
        (["live/song.wav"], [], False),
        ([], ["live"], False),
        ([], ["*/live/*"], False),
        ([], ["Live"], True),
        (["*"], ["song.*"], False),
    ],
)
def test_what_is_wanted(include: list[str], exclude: list[str], expected: bool) -> None:
    assert is_wanted("pop/live/song.wav", include, exclude) is expected
