"""Pictures of audio files, both ways, and tags of formats that are only read."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from audio_files import RATE_HZ, Pipe, noise, on_disk
from mutagen import id3
from mutagen.apev2 import APEv2
from mutagen.asf import ASFByteArrayAttribute, ASFUnicodeAttribute
from mutagen.mp4 import MP4Cover
from mutagen.oggvorbis import OggVorbis

from ncodec.audio import AudioSink, AudioSource, write
from ncodec.audio.foreign_tags import of_asf, of_mp4
from ncodec.audio.pictures import media_type_of
from ncodec.audio.pictures import of_asf as pictures_of_asf
from ncodec.audio.pictures import of_mp4 as pictures_of_mp4
from ncodec.audio.tag_files import read_metadata
from ncodec.formats.ncx import Picture

PNG, JPEG = b"\x89PNG" + bytes(range(256)) * 400, b"\xff\xd8\xff" + bytes(9)
PICTURES = (
    Picture(PNG, "image/png", 3, "Vörne"),
    Picture(JPEG, "image/jpeg", 4),
    Picture(b"https://example.org/x.jpg", "-->", 6),
)
TAGS = (("TITLE", "Hum"), ("ARTIST", "A"))


def made(suffix: str, tmp_path: Path, pictures: Any = PICTURES, **options: Any) -> Path:
    path = tmp_path / f"a.{suffix}"
    with AudioSink(path, RATE_HZ, 1, tags=TAGS, pictures=pictures, **options) as sink:
        sink.write(noise(1, 3000))
    assert sink.unwritten == ""
    return path


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "opus", "mp3", "aiff"])
def test_they_come_back(suffix: str, tmp_path: Path) -> None:
    content = made(suffix, tmp_path).read_bytes()
    for make in (on_disk, io.BytesIO, Pipe):
        with AudioSource(make(content)) as source:
            assert source.metadata.pictures == PICTURES
            assert sorted(source.metadata.tags) == sorted(TAGS)
            assert sum(block.shape[1] for block in source.blocks(1000)) >= 3000


@pytest.mark.parametrize("suffix", ["flac", "ogg", "opus"])
def test_sizes_are_kept_by_blocks(suffix: str, tmp_path: Path) -> None:
    picture = Picture(PNG, "image/png", 3, "", 640, 480, 24, 16)
    with AudioSource(made(suffix, tmp_path, [picture])) as source:
        assert source.metadata.pictures == (picture,)


@pytest.mark.parametrize("suffix", ["mp3", "aiff", "wav"])
def test_pictures_with_one_description(suffix: str, tmp_path: Path) -> None:
    pictures = tuple(Picture(PNG + bytes((n,)), "image/png", 3, "x") for n in range(3))
    with AudioSource(made(suffix, tmp_path, pictures)) as source:
        assert source.metadata.pictures == pictures


@pytest.mark.parametrize("suffix", ["w64", "rf64", "caf"])
def test_what_there_is_no_room_for_is_said(suffix: str, tmp_path: Path) -> None:
    with AudioSink(tmp_path / f"a.{suffix}", RATE_HZ, 1, pictures=PICTURES) as sink:
        sink.write(noise(1, 300))
    assert (sink.unwritten, sink.n_unwritten_pictures) == ("3 pictures", 3)
    with AudioSink(tmp_path / "b.w64", RATE_HZ, 1, pictures=PICTURES[:1], tags=TAGS) as sink:
        sink.write(noise(1, 300))
    assert sink.unwritten == "the tags TITLE, ARTIST and 1 picture"


def test_a_long_wav_stream_of_pictures() -> None:
    stream = Pipe()
    write(stream, noise(1, 500), RATE_HZ, tags=TAGS, pictures=PICTURES)  # type: ignore[arg-type]
    with AudioSource(Pipe(stream.content.getvalue())) as source:
        assert source.metadata.pictures == PICTURES
        wav = np.concatenate(list(source.blocks(100)), axis=1)
    assert wav.shape == (1, 500)


def test_comments_of_old_and_odd_writers(tmp_path: Path) -> None:
    file = OggVorbis(made("ogg", tmp_path, ()))
    file["coverart"] = base64.b64encode(JPEG).decode()
    file["metadata_block_picture"] = ["no base64!", "AAAA", base64.b64encode(b"").decode()]
    file.save()
    with AudioSource(tmp_path / "a.ogg") as source:
        assert source.metadata.pictures == (Picture(JPEG, "image/jpeg"),)


def test_frames_of_other_versions(tmp_path: Path) -> None:
    path = made("mp3", tmp_path, ())
    frames = id3.ID3(path)
    utf8 = id3.Encoding.UTF8
    for mime, data in (("JPG", b"one"), ("image/jpg", b"two"), ("", PNG), ("image/x", JPEG)):
        frames.add(id3.APIC(encoding=utf8, mime=mime, type=3, desc=mime, data=data))
    frames.save()
    with AudioSource(path) as source:
        found = {one.data: one.media_type for one in source.metadata.pictures}
    assert found == {b"one": "image/jpeg", b"two": "image/jpeg", PNG: "image/png",
                     JPEG: "image/jpeg"}  # fmt: skip


def test_ape_tags_of_an_mp3(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    with AudioSink(path, RATE_HZ, 1) as sink:
        sink.write(noise(1, 3000))
    tags = APEv2()
    tags["Title"], tags["Year"], tags["Track"] = "Hum", "1999", "3/12"
    tags["Artist"] = ["A", "B"]
    tags["Cover Art (Front)"] = b"cover.png\0" + PNG
    tags.save(path)
    with AudioSource(path) as source:
        assert sorted(source.tags) == [
            ("ARTIST", "A"), ("ARTIST", "B"), ("DATE", "1999"), ("TITLE", "Hum"),
            ("TRACKNUMBER", "3/12"),
        ]  # fmt: skip
        assert source.metadata.pictures == (Picture(PNG, "image/png", 3, "cover.png"),)


def test_atoms() -> None:
    freeform = "----:com.apple.iTunes:"
    atoms = {
        "©nam": ["Hum"], "aART": ["All"], "©ART": ["A", "B"], "trkn": [(3, 12)], "disk": [(1, 0)],
        "cpil": True, "tmpo": [120], "xxxx": ["?"], "©too": ["Encoder"],
        f"{freeform}MusicBrainz Track Id": [b"0c"], f"{freeform}MusicBrainz Album Id": [b"f5"],
        f"{freeform}ISRC": [b"US"], f"{freeform}iTunSMPB": [b"00"], "covr": [MP4Cover(PNG)],
    }  # fmt: skip
    assert set(of_mp4(atoms)) == {
        ("TITLE", "Hum"), ("ALBUMARTIST", "All"), ("ARTIST", "A"), ("ARTIST", "B"),
        ("TRACKNUMBER", "3/12"), ("DISCNUMBER", "1"), ("COMPILATION", "1"), ("BPM", "120"),
        ("MUSICBRAINZ_TRACKID", "0c"), ("MUSICBRAINZ_ALBUMID", "f5"), ("ISRC", "US"),
    }  # fmt: skip
    assert list(pictures_of_mp4(atoms["covr"])) == [Picture(PNG, "image/png")]


def test_attributes_of_asf() -> None:
    def text(value: str) -> ASFUnicodeAttribute:
        return ASFUnicodeAttribute(value)

    pairs = [
        ("Title", text("Hum")), ("Author", text("A")), ("Author", text("B")),
        ("WM/AlbumTitle", text("Al")), ("WM/Year", text("1999")), ("WMFSDKVersion", text("1")),
        ("WM/IsCompilation", text("True")), ("MusicBrainz/Album Id", text("f5")),
        ("Own", text("x")),
    ]  # fmt: skip
    assert list(of_asf(pairs)) == [
        ("TITLE", "Hum"), ("ARTIST", "A"), ("ARTIST", "B"), ("ALBUM", "Al"), ("DATE", "1999"),
        ("COMPILATION", "1"), ("MUSICBRAINZ_ALBUMID", "f5"), ("OWN", "x"),
    ]  # fmt: skip
    texts = "image/png\0Cövér\0".encode("utf-16-le")
    content = b"\3" + len(PNG).to_bytes(4, "little") + texts + PNG
    values = [ASFByteArrayAttribute(content), ASFByteArrayAttribute(content[:20])]
    assert list(pictures_of_asf(values)) == [Picture(PNG, "image/png", 3, "Cövér")]


def test_media_types() -> None:
    assert media_type_of(b"") == media_type_of(b"text") == ""
    assert media_type_of(b"RIFF....WEBP") == "image/webp"


@pytest.mark.parametrize("content", [b"", b"OggS", b"\x30\x26\xb2\x75" * 9, b"APETAGEX" * 5])
def test_broken_tags_do_no_harm(content: bytes) -> None:
    assert not read_metadata(io.BytesIO(content))
