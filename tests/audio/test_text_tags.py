"""Text tags of audio files, both ways."""

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from audio_files import RATE_HZ, Pipe, noise, on_disk
from mutagen import id3
from mutagen.flac import FLAC, Picture
from mutagen.oggvorbis import OggVorbis

from ncodec.audio import AudioSink, AudioSource, write
from ncodec.audio.metadata import Metadata, storable
from ncodec.audio.tag_files import read_metadata, write_metadata
from ncodec.audio.tags import DESCRIPTION_OF, FRAME_OF, joined

PAIRS = (
    ("TITLE", "Größe 音"), ("ARTIST", "A"), ("ARTIST", "B / C"), ("ARTIST", "D;E"),
    ("ALBUMARTIST", "All"), ("TRACKNUMBER", "3/12"), ("DISCNUMBER", "1"), ("DATE", "1999-02-03"),
    ("GENRE", "Field"), ("GENRE", "Recording"), ("COMMENT", "a\nb"), ("COMMENT:MOOD", "odd"),
    ("LYRICS", "la\nla"), ("LYRICS", "lo"), ("COMPILATION", "1"), ("MOOD", "blue"),
    ("REPLAYGAIN_TRACK_GAIN", "-3 dB"), ("MUSICBRAINZ_ALBUMID", "f5-a"),
    ("MUSICBRAINZ_TRACKID", "0c-b"), ("LICENSE", "CC0-1.0"), ("ODD KEY", "x"), ("ODD KEY", "y"),
    ("DESCRIPTION", "z" * 70_000),
)  # fmt: skip


def by_key(tags: Any) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, text in tags:
        found.setdefault(key, []).append(text)
    return found


def made(suffix: str, tags: Any, tmp_path: Path, **options: Any) -> Path:
    path = tmp_path / f"a.{suffix}"
    with AudioSink(path, RATE_HZ, 1, tags=tags, **options) as sink:
        sink.write(noise(1, 3000))
    assert sink.unwritten_tags == ()
    return path


@pytest.mark.quick
@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "oga", "opus", "mp3", "aiff", "aif"])
def test_all_text_comes_back(suffix: str, tmp_path: Path) -> None:
    path = made(suffix, PAIRS, tmp_path)
    with AudioSource(path) as source:
        assert by_key(source.tags) == by_key(PAIRS)
        wav = np.concatenate(list(source.blocks(1000)), axis=1)
    assert np.isfinite(wav).all()
    assert wav.shape[1] == 3000 or suffix == "mp3"


@pytest.mark.parametrize("make", [on_disk, io.BytesIO, Pipe], ids=["file", "memory", "pipe"])
@pytest.mark.parametrize("suffix", ["flac", "mp3", "ogg"])
def test_streams_have_tags_too(suffix: str, make: Any, tmp_path: Path) -> None:
    content = made(suffix, PAIRS, tmp_path).read_bytes()
    with AudioSource(make(content)) as source:
        assert by_key(source.tags) == by_key(PAIRS)
        assert sum(block.shape[1] for block in source.blocks(1000)) >= 3000


def test_a_wav_stream_starts_with_all_of_them() -> None:
    stream = Pipe()
    write(stream, noise(1, 500), RATE_HZ, tags=PAIRS)  # type: ignore[arg-type]
    content = stream.content.getvalue()
    with AudioSource(io.BytesIO(content)) as source:
        assert by_key(source.tags) == by_key(PAIRS)


def test_a_wav_has_plain_tags_alone_where_they_hold_all(tmp_path: Path) -> None:
    plain = (("TITLE", "Hum"), ("ARTIST", "Bee"))
    assert b"id3 " not in made("wav", plain, tmp_path).read_bytes()
    with AudioSource(tmp_path / "a.wav") as source:
        assert source.tags == plain


@pytest.mark.parametrize("suffix", ["caf", "w64", "rf64"])
def test_what_there_is_no_room_for_is_named(suffix: str, tmp_path: Path) -> None:
    with AudioSink(tmp_path / f"a.{suffix}", RATE_HZ, 1, tags=PAIRS) as sink:
        sink.write(noise(1, 3000))
    kept = {"TITLE", "ARTIST", "TRACKNUMBER", "DATE", "GENRE", "COMMENT"}
    kept = {"caf": kept | {"LICENSE"}, "w64": set(), "rf64": kept}[suffix]
    assert set(sink.unwritten_tags) == {key for key, _ in PAIRS} - kept
    with AudioSource(tmp_path / f"a.{suffix}") as source:
        assert {key for key, _ in source.tags} == kept
        assert sum(block.shape[1] for block in source.blocks(1000)) == 3000


def test_frames_of_taggers_have_the_keys_of_vorbis_comments(tmp_path: Path) -> None:
    path = made("mp3", (), tmp_path)
    utf8 = id3.Encoding.UTF8
    file = id3.ID3()
    for frame in (
        id3.TPE1(encoding=utf8, text=["A", "B"]),
        id3.TPE2(encoding=utf8, text="All"),
        id3.TCMP(encoding=utf8, text="1"),
        id3.TCON(encoding=utf8, text=["(17)", "Own"]),
        id3.TXXX(encoding=utf8, desc="MusicBrainz Album Id", text="f5"),
        id3.TXXX(encoding=utf8, desc="replaygain_track_gain", text="-3 dB"),
        id3.UFID(owner="http://musicbrainz.org", data=b"0c"),
        id3.UFID(owner="http://other.org", data=b"\xff"),
        id3.TIPL(encoding=utf8, people=[["producer", "P"], ["DJ-mix", "D"]]),
        id3.TMCL(encoding=utf8, people=[["guitar", "G"]]),
        id3.COMM(encoding=utf8, lang="eng", desc="iTunNORM", text="000"),
        id3.COMM(encoding=utf8, lang="eng", desc="", text="well"),
    ):
        file.add(frame)
    file.save(path)
    with path.open("rb") as stream:
        found = by_key(read_metadata(stream).tags)
    assert found == {
        "ARTIST": ["A", "B"], "ALBUMARTIST": ["All"], "COMPILATION": ["1"],
        "GENRE": ["Rock", "Own"], "MUSICBRAINZ_ALBUMID": ["f5"],
        "REPLAYGAIN_TRACK_GAIN": ["-3 dB"], "MUSICBRAINZ_TRACKID": ["0c"], "PRODUCER": ["P"],
        "DJMIXER": ["D"], "PERFORMER": ["G (guitar)"], "COMMENT": ["well"],
    }  # fmt: skip


def test_every_key_of_the_table_has_one_frame(tmp_path: Path) -> None:
    assert len(set(FRAME_OF.values())) == len(FRAME_OF)
    dates = {"DATE", "ORIGINALDATE"}
    tags = tuple((key, "1999" if key in dates else "odd") for key in (*FRAME_OF, *DESCRIPTION_OF))
    with made("mp3", tags, tmp_path).open("rb") as stream:
        assert sorted(read_metadata(stream).tags) == sorted(tags)
    frames = id3.ID3(tmp_path / "a.mp3")
    for key, text in DESCRIPTION_OF.items():
        assert frames[f"TXXX:{text}"].text == ["odd"], key


@pytest.mark.parametrize("suffix", ["mp3", "aiff", "wav"])
@pytest.mark.parametrize(
    "tag",
    [
        ("DATE", "Spring 1999"), ("DATE", "1999/02/03"), ("DATE", "1999-02-03T10:11"),
        ("DATE", "1999-02-03 10:11"), ("ORIGINALDATE", "?"), ("GENRE", "7"), ("GENRE", "RX"),
        ("GENRE", "(7)Own"), ("BPM", "fast"), ("MUSICBRAINZ_TRACKID", "Ü"), ("COMMENT:", "x"),
    ],
)  # fmt: skip
def test_text_that_a_frame_would_change_is_kept(
    tag: tuple[str, str], suffix: str, tmp_path: Path
) -> None:
    with AudioSource(made(suffix, (tag, ("TITLE", "Hum")), tmp_path)) as source:
        assert set(source.tags) == {tag, ("TITLE", "Hum")}


def test_a_time_is_read_as_it_stands(tmp_path: Path) -> None:
    path = made("mp3", (("DATE", "1999-02-03T10:11"),), tmp_path)
    assert id3.ID3(path).getall("TDRC") != []
    assert b"1999-02-03T10:11" in path.read_bytes()


def with_list(wav: bytes, texts: dict[bytes, bytes], *, behind: bool) -> bytes:
    """Put a LIST chunk into a WAV, before or behind its audio."""
    info = b"".join(
        struct.pack("<4sI", name, len(text)) + text + b"\0" * (len(text) % 2)
        for name, text in texts.items()
    )
    chunk = struct.pack("<4sI4s", b"LIST", 4 + len(info), b"INFO") + info
    body = wav[12:] + chunk if behind else wav[12:36] + chunk + wav[36:]
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body


@pytest.mark.parametrize("behind", [False, True])
def test_info_of_windows_is_read_as_it_was_meant(behind: bool) -> None:
    plain = io.BytesIO()
    write(plain, noise(1, 100), RATE_HZ)
    texts = {b"INAM": "Träume €".encode("cp1252"), b"IART": "Ünder".encode()}
    content = with_list(plain.getvalue(), texts, behind=behind)
    with AudioSource(on_disk(content)) as source:
        assert source.tags == (("TITLE", "Träume €"), ("ARTIST", "Ünder"))
        assert sum(block.shape[1] for block in source.blocks(64)) == 100
    with AudioSource(Pipe(content)) as source:
        assert not source.has_metadata
        assert bool(source.tags) != behind
        assert sum(block.shape[1] for block in source.blocks(64)) == 100
        assert source.tags == (("TITLE", "Träume €"), ("ARTIST", "Ünder"))
        assert source.has_metadata


def test_pictures_are_no_text(tmp_path: Path) -> None:
    file = FLAC(made("flac", PAIRS, tmp_path))
    picture = Picture()
    picture.data, picture.type = b"PNG", 3
    file.add_picture(picture)
    file.save()
    ogg = OggVorbis(made("ogg", PAIRS, tmp_path))
    ogg["metadata_block_picture"] = "AAAA"
    ogg.save()
    for suffix in ("flac", "ogg"):
        with AudioSource(tmp_path / f"a.{suffix}") as source:
            assert by_key(source.tags) == by_key(PAIRS)


@pytest.mark.parametrize(
    "content", [b"", b"RIFF", b"ID3\x04\0\0\x7f\x7f\x7f\x7f", b"fLaC" + bytes(50), bytes(99)]
)
def test_broken_tags_do_no_harm(content: bytes, tmp_path: Path) -> None:
    assert not read_metadata(io.BytesIO(content))
    path = tmp_path / "a.flac"
    path.write_bytes(content)
    given = Metadata(PAIRS[:2])
    assert write_metadata(path, "FLAC", given) == given
    assert path.read_bytes() == content


def test_what_a_file_cannot_hold_is_no_tag() -> None:
    odd = (("TITLE", "a"), ("", "b"), ("K=", "c"), ("ünicode", "d"), ("ARTIST", "\udcff"),
           ("DATE", ""))  # fmt: skip
    found = storable(odd)
    assert found.tags == (("TITLE", "a"),)
    assert [text.split(",")[0] for text in found.left_out] == [
        "the tag ''", "the tag 'K='", "the tag '\\xfcnicode'", "the tag 'ARTIST'"
    ]  # fmt: skip
    own = Metadata((("TITLE", "own"),))
    assert own.merged(found).tags == (("TITLE", "own"),)
    assert found.merged(own).left_out == found.left_out


def test_values_of_one_key_are_joined_where_there_is_one_place() -> None:
    tags = (("artist", "a"), ("TITLE", "t"), ("ARTIST", "b"))
    assert joined(tags) == {"ARTIST": "a; b", "TITLE": "t"}
