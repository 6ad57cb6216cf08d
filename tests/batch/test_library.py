"""A library as people have them: many formats, tags and pictures, one way and back."""

import shutil
import sys
from pathlib import Path
from typing import Any

import mutagen
import numpy as np
import pytest
from mutagen import id3
from mutagen.apev2 import APEv2
from mutagen.asf import ASF, ASFByteArrayAttribute
from mutagen.flac import FLAC
from mutagen.flac import Picture as Block
from mutagen.mp4 import MP4, MP4Cover, MP4FreeForm
from trees import convert

sys.path.append(str(Path(__file__).parents[1] / "audio"))
from made_by_ffmpeg import KINDS, make

import ncodec
from ncodec.audio import write
from ncodec.formats.ncx import Picture

PLAIN = (("TITLE", "Größe 音"), ("ARTIST", "Bee"), ("DATE", "1999"))
FULL = (
    ("TITLE", "Hum"), ("ARTIST", "A"), ("ARTIST", "B / C"), ("ARTIST", "D;E"),
    ("ALBUMARTIST", "All"), ("ALBUM", "Field"), ("TRACKNUMBER", "3/12"), ("DISCNUMBER", "1/2"),
    ("GENRE", "Noise"), ("GENRE", "Drone"), ("COMMENT", "x" * 70_000), ("LYRICS", "la\nla"),
    ("COMPOSER", "C"), ("COPYRIGHT", "CC0"), ("MUSICBRAINZ_ALBUMID", "f5-a"),
    ("MUSICBRAINZ_TRACKID", "0c-b"), ("REPLAYGAIN_TRACK_GAIN", "-3.00 dB"), ("MOOD", "blue"),
)  # fmt: skip
COVER = Picture(b"\xff\xd8\xff" + bytes(range(256)) * 300, "image/jpeg")
BACK = Picture(b"\x89PNG" + bytes(5000), "image/png", 4, "back")
RATE_HZ = 44100

# Formats whose tags are not all kept, and why.
NO_TAGS = {"w64", "aac", "ac3", "eac3"}  # have no place for them
FEW_TAGS = {"caf", "mka", "webm"}  # mutagen does not write them; plain ones are tried
NO_PICTURES = NO_TAGS | FEW_TAGS

MP4_ATOMS = {
    "TITLE": "©nam", "ARTIST": "©ART", "ALBUMARTIST": "aART", "ALBUM": "©alb", "DATE": "©day",
    "GENRE": "©gen", "COMMENT": "©cmt", "LYRICS": "©lyr", "COMPOSER": "©wrt", "COPYRIGHT": "cprt",
}  # fmt: skip
ASF_NAMES = {
    "TITLE": "Title", "ARTIST": "Author", "ALBUMARTIST": "WM/AlbumArtist",
    "ALBUM": "WM/AlbumTitle", "DATE": "WM/Year", "GENRE": "WM/Genre", "COMMENT": "Description",
    "LYRICS": "WM/Lyrics", "COMPOSER": "WM/Composer", "COPYRIGHT": "Copyright",
    "TRACKNUMBER": "WM/TrackNumber", "DISCNUMBER": "WM/PartOfSet", "MOOD": "WM/Mood",
    "MUSICBRAINZ_ALBUMID": "MusicBrainz/Album Id", "MUSICBRAINZ_TRACKID": "MusicBrainz/Track Id",
}  # fmt: skip
APE_NAMES = {"TRACKNUMBER": "Track", "DISCNUMBER": "Disc", "DATE": "Year"}


def by_key(tags: Any) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, text in tags:
        found.setdefault(key, []).append(text)
    return found


def tag_mp4(path: Path, tags: Any, pictures: Any) -> None:
    file = MP4(path)
    for key, texts in by_key(tags).items():
        if key in ("TRACKNUMBER", "DISCNUMBER"):
            atom = "trkn" if key == "TRACKNUMBER" else "disk"
            file[atom] = [tuple(int(number) for number in texts[0].split("/"))]
        elif key in MP4_ATOMS:
            file[MP4_ATOMS[key]] = texts
        else:
            name = {"MUSICBRAINZ_ALBUMID": "MusicBrainz Album Id",
                    "MUSICBRAINZ_TRACKID": "MusicBrainz Track Id"}.get(key, key)  # fmt: skip
            freeform = [MP4FreeForm(text.encode()) for text in texts]
            file[f"----:com.apple.iTunes:{name}"] = freeform
    file["covr"] = [MP4Cover(picture.data) for picture in pictures]
    file.save()


def tag_asf(path: Path, tags: Any, pictures: Any) -> None:
    file = ASF(path)
    for key, texts in by_key(tags).items():
        file[ASF_NAMES.get(key, key)] = texts
    file["WM/Picture"] = [
        ASFByteArrayAttribute(
            bytes((one.kind,)) + len(one.data).to_bytes(4, "little")
            + f"{one.media_type}\0{one.description}\0".encode("utf-16-le") + one.data
        )
        for one in pictures
    ]  # fmt: skip
    file.save()


def tag_ape(path: Path, tags: Any, pictures: Any) -> None:
    file = APEv2()
    for key, texts in by_key(tags).items():
        file[APE_NAMES.get(key, key)] = texts
    for one in pictures:
        side = "Front" if one.kind == 3 else "Back"
        file[f"Cover Art ({side})"] = one.description.encode() + b"\0" + one.data
    file.save(path)


def tag_by_ours(path: Path, tags: Any, pictures: Any) -> None:
    from ncodec.audio.metadata import NOTHING, Metadata
    from ncodec.audio.tag_files import write_metadata

    kind = {"aif": "AIFF", "ogg": "VORBIS"}.get(path.suffix[1:], path.suffix[1:].upper())
    assert write_metadata(path, kind, Metadata(tags, tuple(pictures))) == NOTHING


def tag_ogg_flac(path: Path, tags: Any, pictures: Any) -> None:
    import base64

    file = mutagen.File(path)
    file.delete()
    pairs = [*tags, *(("METADATA_BLOCK_PICTURE", base64.b64encode(Block(one.pack()).write())
                       .decode()) for one in pictures)]  # fmt: skip
    for key, texts in by_key(pairs).items():
        file[key] = texts
    file.save()


def tag_old_id3(path: Path, tags: Any, pictures: Any) -> None:
    """ID3v2.3, as most files have it."""
    tag_by_ours(path.rename(path.with_suffix(".mp3")), tags, pictures)
    id3.ID3(path).save(path, v2_version=3, v23_sep="\0")


def sound(number: int, n_channels: int) -> np.ndarray:
    n = 9000 + 501 * number
    rng = np.random.default_rng(number)
    return (0.2 * rng.uniform(-1, 1, (n_channels, n))).astype(np.float32)


def made_by_libsndfile(suffix: str, path: Path, wav: np.ndarray) -> None:
    rate = 48000 if suffix == "opus" else RATE_HZ
    write(path, wav, rate, container=suffix)


def build(folder: Path) -> dict[str, tuple[Any, tuple[Picture, ...]]]:
    """Fill a folder; return the tags and pictures of each file, by its name."""
    expected: dict[str, tuple[Any, tuple[Picture, ...]]] = {}
    sndfile = ("wav", "flac", "ogg", "opus", "mp3", "aiff", "caf", "w64")
    ours = [name for name in KINDS if name not in ("mp3.wav", "alac.caf")]
    for number in range(11):
        n_channels = 1 + number % 2
        tags = ((), PLAIN, FULL)[number % 3]
        pictures = ((), (COVER,), (COVER, BACK))[number // 3 % 3]
        for suffix in sndfile:
            path = folder / f"{suffix}-{number}.{suffix}"
            some = tags if suffix not in FEW_TAGS | NO_TAGS else tags if tags is PLAIN else ()
            some = () if suffix in NO_TAGS else some
            images = () if suffix in NO_PICTURES else pictures
            rate = 48000 if suffix == "opus" else RATE_HZ
            write(path, sound(number, n_channels), rate, tags=some, pictures=images)
            expected[path.name] = (some, images)
        for name in ours:
            suffix = name.partition(".")[2]
            path = folder / f"{name.partition('.')[0]}-{number}.{suffix}"
            some = tags if suffix not in NO_TAGS else ()
            images = () if suffix in NO_PICTURES else pictures
            plain = {}
            if suffix in FEW_TAGS:
                some = tags if tags is PLAIN else ()
                plain = {key.lower(): text for key, text in some}
            make(name, path, sound(number, n_channels), **plain)
            tagger = {"m4a": tag_mp4, "wma": tag_asf, "wv": tag_ape, "tta": tag_ape,
                      "oga": tag_ogg_flac}.get(suffix)  # fmt: skip
            if tagger and (some or images or suffix == "oga"):
                tagger(path, some, images)
            if suffix == "m4a":  # a cover has neither kind nor description there
                images = tuple(Picture(one.data, one.media_type) for one in images)
            if suffix in ("wv", "tta"):
                images = tuple(
                    Picture(one.data, one.media_type, one.kind, one.description) for one in images
                )
            expected[path.name] = (some, images)
    chain = folder / "chained.ogg"
    links = [(folder / f"ogg-{number}.ogg").read_bytes() for number in (4, 10)]
    chain.write_bytes(b"".join(links))
    expected[chain.name] = expected["ogg-4.ogg"]
    return expected


@pytest.mark.quick
def test_a_library(tmp_path: Path) -> None:
    library, small, back = tmp_path / "library", tmp_path / "small", tmp_path / "back"
    library.mkdir()
    expected = build(library)
    assert len(expected) > 200
    assert len({Path(name).suffix for name in expected}) >= 15
    outcomes = list(convert(library, small, n_workers=0, model="tiny"))
    assert {one.status for one in outcomes} == {"done"}
    assert {one.remarks for one in outcomes} == {()}
    one_by_one = tmp_path / "one"
    one_by_one.mkdir()
    targets = {one.source: one.target for one in outcomes}
    assert targets.keys() == expected.keys()
    for name, target in targets.items():
        ncodec.encode_file(library / name, one_by_one / target, model="tiny")
        assert (one_by_one / target).read_bytes() == (small / target).read_bytes(), name
    decoded = list(convert(small, back, n_workers=0, decode=True, container="flac"))
    assert {one.status for one in decoded} == {"done"}
    assert all("without room" not in remark for one in decoded for remark in one.remarks)
    flacs = {one.source: one.target for one in decoded}
    for name, target in targets.items():
        file = FLAC(back / flacs[target])
        tags, pictures = expected[name]
        found = by_key((key.upper(), text) for key, text in file.tags or ())
        assert found == by_key(tags), name
        images = [Picture.parse(one.write()) for one in file.pictures]
        if name.endswith("wma"):  # which keeps large ones at another place
            images.sort(key=lambda one: one.kind)
        assert images == list(pictures), name
    shutil.rmtree(tmp_path)
