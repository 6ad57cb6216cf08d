"""Tags on their way into .ncx files and back."""

import sys
from pathlib import Path

import pytest
from trees import make_audio

from ncodec.batch import tags
from ncodec.batch.tags import read_tags, write_tags
from ncodec.codec import join_tags
from ncodec.encoding.packets import fitting

PAIRS = (
    ("TITLE", "Größe 音"), ("ARTIST", "One"), ("ARTIST", "Two"), ("ALBUMARTIST", "All"),
    ("TRACKNUMBER", "3"), ("DATE", "1999-02-03"), ("GENRE", "Field"), ("COMMENT", "a\nb"),
    ("LYRICS", "la"), ("MOOD", "blue"), ("REPLAYGAIN_TRACK_GAIN", "-3 dB"),
)  # fmt: skip


@pytest.fixture
def without_mutagen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tags, "has_mutagen", lambda: False)


@pytest.mark.parametrize("container", ["flac", "ogg", "oga", "opus", "mp3"])
def test_all_text_comes_back(container: str) -> None:
    path = make_audio(f"song.{container}", rate=16000, title="old")
    assert write_tags(path, container, PAIRS)
    assert sorted(read_tags(path, {})) == sorted(PAIRS)


def test_what_libsndfile_finds_is_added() -> None:
    path = make_audio("song.flac")
    write_tags(path, "flac", (("TITLE", "Hum"),))
    assert read_tags(path, {"TITLE": "other", "DATE": "1"}) == (("TITLE", "Hum"), ("DATE", "1"))


@pytest.mark.usefixtures("without_mutagen")
def test_without_mutagen_it_is_all_there_is() -> None:
    path = make_audio("song.flac")
    assert read_tags(path, {"TITLE": "Hum"}) == (("TITLE", "Hum"),)
    assert not write_tags(path, "flac", (("TITLE", "Hum"),))
    assert write_tags(path, "flac", ())


def test_mutagen_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tags.has_mutagen()
    monkeypatch.setitem(sys.modules, "mutagen", None)
    monkeypatch.setattr(tags, "find_spec", lambda name: None)
    assert not tags.has_mutagen()


def test_pictures_are_not_kept() -> None:
    from mutagen.oggvorbis import OggVorbis

    path = make_audio("song.ogg")
    file = OggVorbis(path)
    file["metadata_block_picture"] = "AAAA"
    file["title"] = "Hum"
    file.save()
    assert ("TITLE", "Hum") in read_tags(path, {})
    assert not [key for key, _ in read_tags(path, {}) if "PICTURE" in key]


@pytest.mark.parametrize("content", [b"", b"ID3\x04\0\0\x7f\x7f\x7f\x7f", b"fLaC" + bytes(50)])
def test_broken_tags_do_no_harm(content: bytes) -> None:
    Path("song.mp3").write_bytes(content)
    assert read_tags(Path("song.mp3"), {"TITLE": "Hum"}) == (("TITLE", "Hum"),)
    assert not write_tags(Path("song.mp3"), "flac", PAIRS)


def test_tags_of_formats_that_have_no_room() -> None:
    assert not write_tags(make_audio("song.wav"), "wav", PAIRS)


def test_what_a_header_cannot_hold_is_left_out() -> None:
    known = {"TITLE": "a", "": "b", "K=": "c", "ünicode": "d", "ARTIST": "\udcff", "DATE": ""}
    assert read_tags(make_audio("song.wav"), known) == (("TITLE", "a"),)
    pairs = (("A", "x" * 50), ("B", "y" * 50), ("C", "z"))
    assert fitting(pairs, 70) == (pairs[0], pairs[2])
    assert len(fitting((("A", "x"),) * 2000, 60_000)) == 1024


def test_values_of_one_key_are_joined_for_libsndfile() -> None:
    assert join_tags((("artist", "a"), ("TITLE", "t"), ("ARTIST", "b"))) == {
        "ARTIST": "a; b",
        "TITLE": "t",
    }
