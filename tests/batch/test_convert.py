"""Trees of audio to trees of .ncx files and back, in one process."""

import io
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import soundfile
from mutagen.aiff import AIFF
from trees import ODD, contents, convert, make_audio, make_mixed, state_files

import ncodec
from ncodec.audio import AudioSource
from ncodec.audio.metadata import NOTHING, Metadata
from ncodec.audio.tag_files import read_metadata, write_metadata
from ncodec.batch import Outcome, encoder
from ncodec.batch.storage import STATE
from ncodec.batch.work_units import WorkUnit
from ncodec.codec import encode_audio
from ncodec.encoding.options import EncodeOptions
from ncodec.errors import AudioError, ModelMissing, UsageError
from ncodec.formats.ncx import Picture, Reader


def go(src: str, dst: str, **options: Any) -> dict[str, Outcome]:
    """Convert with the tiny model, in this process; return the outcomes by source."""
    if not options.get("decode"):
        options = {"model": "tiny", **options}
    return {done.source: done for done in convert(src, dst, n_workers=0, **options)}


def statuses(outcomes: dict[str, Outcome]) -> Counter[str]:
    return Counter(outcome.status for outcome in outcomes.values())


def encoded(path: Path, model: str = "tiny", effort: int | None = None) -> bytes:
    """What `ncodec encode` makes of a file."""
    sink = io.BytesIO()
    with AudioSource(path) as source:
        encode_audio(source, sink, EncodeOptions(model, n_q=4, effort=effort).resolve())
    return sink.getvalue()


@pytest.mark.parametrize("model", ["tiny", "modelled"])
def test_files_are_those_of_encode(model: str) -> None:
    n_files = make_mixed(Path("lib"))
    assert statuses(go("lib", "small", model=model)) == {"done": n_files}
    made = contents(Path("small"))
    assert len(made) == n_files
    for path in Path("lib").rglob("*.*"):
        if path.is_file():
            to = path.relative_to("lib").with_suffix(".ncx")
            names = (to.as_posix(), path.relative_to("lib").as_posix() + ".ncx")
            found = [made[name] for name in names if name in made]
            assert found == [encoded(path, model)], path
    assert state_files(Path("small")) == [".jsonl"]


def test_mp3_are_those_of_encode_and_know_their_length() -> None:
    for n_samples in (30_000, 200_000):
        path = make_audio(f"lib/{n_samples}.mp3", n_samples=n_samples, rate=16000)
        go("lib", "small")
        made = Path(f"small/{n_samples}.ncx").read_bytes()
        assert made == encoded(path)
        assert Reader(io.BytesIO(made)).header.n_samples == n_samples


@pytest.mark.quick
def test_times_and_tags_are_kept_both_ways() -> None:
    source = make_audio("lib/a.flac", title="Hum", artist="Bee")
    write_metadata(source, "FLAC", Metadata((("TITLE", "Hum"), ("ARTIST", "A"), ("ARTIST", "B"))))
    os.utime(source, ns=(5, 1_234_567_890_123_456_789))
    go("lib", "small")
    with Path("small/a.ncx").open("rb") as stream:
        assert Reader(stream).header.tags == (("TITLE", "Hum"), ("ARTIST", "A"), ("ARTIST", "B"))
    for container in ("flac", "mp3"):
        go("small", container, decode=True, container=container)
        back = Path(f"{container}/a.{container}")
        with back.open("rb") as stream:
            assert read_metadata(stream).tags == (
                ("TITLE", "Hum"),
                ("ARTIST", "A"),
                ("ARTIST", "B"),
            )
        assert back.stat().st_mtime_ns == 1_234_567_890_123_456_789


@pytest.mark.parametrize("model", ["tiny", "modelled"])
def test_decoding_gives_what_decode_gives(model: str) -> None:
    make_mixed(Path("lib"))
    Path("lib/nothing.wav").unlink()  # no FLAC is empty
    if model == "modelled":  # which takes its time
        Path("lib/long.w64").unlink()
        Path("lib/longer.mp3").unlink()
    go("lib", "small", model=model)
    outcomes = go("small", "back", decode=True)
    assert set(statuses(outcomes)) == {"done"}
    for outcome in outcomes.values():
        wav, rate = ncodec.decode(Path("small", outcome.source).read_bytes())
        found, found_rate = soundfile.read(
            os.fsencode(Path("back", outcome.target)), always_2d=True
        )
        assert found_rate == rate
        assert np.abs(found.T - np.clip(wav, -1, 1)).max() < 1e-4
        assert outcome.seconds == pytest.approx(len(found) / rate)


def test_alike_clips_are_coded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        make_audio(f"lib/{number}.wav", n_channels=1 + number % 3, seed=number)
    make_audio("lib/other.wav", n_samples=4001)
    batches: list[int] = []
    code = encoder.Encoder._code

    def count(self: encoder.Encoder, clips: list[encoder.ShortClip]) -> None:
        batches.append(sum(len(clip.wav) for clip in clips))
        code(self, clips)

    monkeypatch.setattr(encoder.Encoder, "_code", count)
    monkeypatch.setattr(
        "ncodec.batch.conversion.make_work_units", lambda items, *_, **__: [WorkUnit(tuple(items))]
    )
    go("lib", "small")
    assert sum(batches) == 1 + 39
    assert sorted(batches)[0] == 1  # of another length
    assert len(batches) == 3
    assert max(batches) <= encoder.ROWS_AT_ONCE["cpu"]
    for number in range(20):
        made = Path(f"small/{number}.ncx").read_bytes()
        assert made == encoded(Path(f"lib/{number}.wav")), number


@pytest.mark.quick
def test_bad_files_do_not_stop_the_others() -> None:
    for number in range(3):
        make_audio(f"lib/{number}.wav", seed=number)
    Path("lib/empty.wav").touch()
    Path("lib/text.flac").write_text("this is no audio")
    Path("lib/cut.wav").write_bytes(Path("lib/0.wav").read_bytes()[:-100])
    Path("lib/link.wav").symlink_to("gone.wav")
    make_audio("lib/loud.wav", subtype="FLOAT")
    soundfile.write("lib/loud.wav", np.full(4000, 1e38), 8000, "FLOAT")
    soundfile.write("lib/nan.wav", np.full(4000, np.nan), 8000, "FLOAT")
    outcomes = go("lib", "small")
    failed = {name: done.error for name, done in outcomes.items() if done.status == "failed"}
    assert failed == {
        "empty.wav": "is empty",
        "text.flac": failed["text.flac"],
        "cut.wav": failed["cut.wav"],
        "link.wav": "a link that leads nowhere",
        "loud.wav": "its level is beyond what float32 holds",
        "nan.wav": "sample 0 of channel 1 is nan",
    }
    assert failed["text.flac"].startswith("not an audio file")
    assert failed["cut.wav"].startswith("truncated")
    assert [*contents(Path("small"))] == ["0.ncx", "1.ncx", "2.ncx"]
    assert statuses(go("lib", "small")) == {"skipped": 3, "failed": 6}


def test_bad_codes_do_not_stop_the_others() -> None:
    for number in range(4):
        make_audio(f"lib/{number}.wav", seed=number)
    go("lib", "small", model="modelled")
    whole = Path("small/0.ncx").read_bytes()
    Path("small/0.ncx").write_bytes(whole[:-20])
    spoilt = bytearray(Path("small/1.ncx").read_bytes())
    spoilt[100] ^= 1
    Path("small/1.ncx").write_bytes(spoilt)
    outcomes = go("small", "back", decode=True)
    assert statuses(outcomes) == {"done": 2, "failed": 2}
    assert "packet 0" in outcomes["1.ncx"].error
    with pytest.raises(Exception, match=r"packet 0") as raised:
        ncodec.decode(bytes(spoilt))
    assert outcomes["1.ncx"].error == str(raised.value).removeprefix("bytes: ")
    assert [*contents(Path("back"))] == ["2.flac", "3.flac"]


@pytest.mark.quick
def test_what_is_done_is_skipped() -> None:
    n_files = make_mixed(Path("lib"))
    first = go("lib", "small")
    before = contents(Path("small"))
    again = go("lib", "small")
    assert statuses(again) == {"skipped": n_files}
    assert {name: done.seconds for name, done in again.items()} == {
        name: done.seconds for name, done in first.items()
    }
    assert contents(Path("small")) == before
    assert len([*Path("small", STATE).iterdir()]) == 1


@pytest.mark.parametrize(
    ("change", "redone"),
    [
        (lambda: make_audio("lib/a.wav", seed=9), True),
        (lambda: make_audio("lib/a.wav", n_samples=4001), True),
        (lambda: os.utime("lib/a.wav"), True),
        (lambda: Path("small/a.ncx").unlink(), True),
        (lambda: Path("small/a.ncx").write_bytes(b"x"), True),
        (lambda: shutil.rmtree("small"), True),
        (lambda: Path("lib/a.wav").rename("lib/b.wav"), True),
        (lambda: None, False),
    ],
)
def test_what_has_changed_is_done_again(change: Callable[[], object], redone: bool) -> None:
    make_audio("lib/a.wav")
    go("lib", "small")
    change()
    (outcome,) = go("lib", "small").values()
    assert outcome.status == ("done" if redone else "skipped")
    made = Path("small", outcome.target).read_bytes()
    assert made == encoded(Path("lib", outcome.source))


@pytest.mark.parametrize("option", [{"effort": "fast"}, {"effort": "best"}, {"quality": 8}])
def test_other_searches_make_other_files(option: dict[str, Any]) -> None:
    make_audio("lib/a.wav")
    usual = {"model": "modelled"}
    go("lib", "small", **usual)
    assert statuses(go("lib", "small", **usual, effort="default")) == {"skipped": 1}
    assert statuses(go("lib", "small", **usual, **option)) == {"done": 1}
    assert statuses(go("lib", "small", **usual, **option)) == {"skipped": 1}


def test_a_search_that_weighs_no_bits_has_no_quality() -> None:
    make_audio("lib/a.wav")
    go("lib", "small", n_q=4)
    for option in ({"effort": "default"}, {"effort": 4}, {"quality": 0, "effort": "fast"}):
        assert statuses(go("lib", "small", n_q=4, **option)) == {"skipped": 1}


@pytest.mark.parametrize("option", [{"n_q": 2}, {"effort": 1}, {"entropy": "packed"},
                                    {"model": "modelled"}])  # fmt: skip
def test_other_settings_make_other_files(option: dict[str, Any]) -> None:
    make_audio("lib/a.wav")
    go("lib", "small")
    assert statuses(go("lib", "small", **option)) == {"done": 1}
    assert statuses(go("lib", "small", **option)) == {"skipped": 1}
    assert statuses(go("lib", "small")) == {"done": 1}


def test_checksums_see_through_times() -> None:
    make_audio("lib/same.wav")
    make_audio("lib/other.wav")
    status = Path("lib/other.wav").stat()
    go("lib", "small")
    os.utime("lib/same.wav")
    content = bytearray(Path("lib/other.wav").read_bytes())
    content[1000] ^= 1
    Path("lib/other.wav").write_bytes(content)
    os.utime("lib/other.wav", ns=(status.st_atime_ns, status.st_mtime_ns))
    outcomes = go("lib", "small", checksum=True)
    assert {name: done.status for name, done in outcomes.items()} == {
        "same.wav": "skipped", "other.wav": "done",
    }  # fmt: skip
    assert Path("small/other.ncx").read_bytes() == encoded(Path("lib/other.wav"))
    assert outcomes["same.wav"].seconds == outcomes["other.wav"].seconds == 0.5
    assert statuses(go("lib", "small")) == {"skipped": 2}  # the new time is known


def test_files_of_others_are_not_replaced() -> None:
    make_audio("lib/a.wav")
    Path("small").mkdir()
    Path("small/a.ncx").write_bytes(b"precious")
    (outcome,) = go("lib", "small").values()
    assert (outcome.status, outcome.error) == (
        "failed", "a.ncx exists already, and is not of an earlier run",
    )  # fmt: skip
    assert Path("small/a.ncx").read_bytes() == b"precious"
    assert statuses(go("lib", "small", overwrite=True)) == {"done": 1}
    make_audio("lib/a.wav", seed=4)
    assert statuses(go("lib", "small")) == {"done": 1}  # it is ours by now


def test_other_files_are_copied_on_request() -> None:
    make_audio("lib/a/song.wav")
    Path("lib/a/cover.jpg").write_bytes(b"picture")
    os.utime("lib/a/cover.jpg", ns=(5, 6_000_000_007))
    assert statuses(go("lib", "small")) == {"done": 1}
    assert statuses(go("lib", "small", copy_other=True)) == {"skipped": 1, "copied": 1}
    assert Path("small/a/cover.jpg").read_bytes() == b"picture"
    assert Path("small/a/cover.jpg").stat().st_mtime_ns == 6_000_000_007
    assert statuses(go("lib", "small", copy_other=True)) == {"skipped": 2}
    Path("lib/a/cover.jpg").write_bytes(b"another")
    assert statuses(go("lib", "small", copy_other=True)) == {"skipped": 1, "copied": 1}
    Path("lib/b.txt").write_bytes(b"notes")
    assert statuses(go("lib", "small", copy_other=True, exclude=["*.txt"])) == {"skipped": 2}
    go("small", "back", decode=True, copy_other=True)
    assert [*contents(Path("back"))] == ["a/cover.jpg", "a/song.flac"]


def test_one_stem_makes_two_files() -> None:
    make_audio("lib/a.wav")
    make_audio("lib/a.flac", seed=1)
    go("lib", "small", include=["*.wav"])
    assert [*contents(Path("small"))] == ["a.wav.ncx"]
    go("lib", "small")
    assert [*contents(Path("small"))] == ["a.flac.ncx", "a.wav.ncx"]
    go("small", "back", decode=True)
    assert [*contents(Path("back"))] == ["a.flac", "a.wav.flac"]


def test_a_folder_keeps_its_name_too() -> None:
    make_audio("lib/a.wav")
    make_audio("lib/a.ncx/b.wav")
    assert statuses(go("lib", "small")) == {"done": 2}
    assert [*contents(Path("small"))] == ["a.ncx/b.ncx", "a.wav.ncx"]


def test_a_target_within_the_source() -> None:
    make_audio("lib/a.wav")
    for _ in range(2):
        assert [*go("lib", "lib/small", copy_other=True)] == ["a.wav"]
    assert [*contents(Path("lib"))] == ["a.wav", "small/a.ncx"]


def test_verified_files_are_the_same() -> None:
    make_mixed(Path("lib"))
    Path("lib/longer.mp3").unlink()
    for folder, verify in (("small", False), ("checked", True)):
        outcomes = go("lib", folder, model="modelled", verify=verify)
        assert set(statuses(outcomes)) == {"done"}
    assert contents(Path("checked")) == contents(Path("small"))


@pytest.mark.parametrize("model", ["tiny", "modelled"])
def test_what_is_not_right_is_not_published(monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    for name, n_samples in (("short", 4000), ("long", 100_000), ("good", 4000)):
        make_audio(f"lib/{name}.wav", n_samples=n_samples)

    def spoiling(method: str) -> Callable[..., Any]:
        plain = getattr(encoder.Encoder, method)

        def spoil(self: encoder.Encoder, *args: Any) -> Any:
            made = plain(self, *args)
            path = next(arg for arg in reversed(args) if isinstance(arg, Path))
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= made.seconds != 0.5 or not spoilt
            path.write_bytes(content)
            spoilt.append(path)
            return made

        return spoil

    spoilt: list[Path] = []
    for method in ("write", "convert"):
        monkeypatch.setattr(encoder.Encoder, method, spoiling(method))
    outcomes = go("lib", "small", model=model, verify=True)
    failed = [name for name, done in outcomes.items() if done.status == "failed"]
    assert len(failed) == 2
    for name in failed:
        assert outcomes[name].error.startswith("is not right after encoding: what was written: ")
    assert len(contents(Path("small"))) == 1


def test_what_fails_together_is_tried_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        make_audio(f"lib/{number}.wav", seed=number)

    def fail(*_: object) -> None:
        raise RuntimeError("no memory for so much at once")

    monkeypatch.setattr(encoder.Encoder, "compute", fail)
    assert statuses(go("lib", "small")) == {"done": 3}
    assert Path("small/1.ncx").read_bytes() == encoded(Path("lib/1.wav"))


def test_errors_of_any_kind_cost_one_file(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        make_audio(f"lib/{number}.wav", seed=number)
    prepare = encoder.Encoder.prepare

    def fail(self: encoder.Encoder, name: str, path: Path) -> object:
        errors = {"0.wav": MemoryError(), "1.wav": ZeroDivisionError("by zero")}
        if name in errors:
            raise errors[name]
        return prepare(self, name, path)

    monkeypatch.setattr(encoder.Encoder, "prepare", fail)
    outcomes = go("lib", "small")
    assert [outcomes[f"{n}.wav"].error for n in range(3)] == [
        "not enough memory", "ZeroDivisionError: by zero", "",
    ]  # fmt: skip


def test_a_file_that_changes_meanwhile_is_not_done(monkeypatch: pytest.MonkeyPatch) -> None:
    make_audio("lib/a.wav")
    write = encoder.Encoder.write

    def change(self: encoder.Encoder, one: encoder.ShortClip, path: Path) -> object:
        os.utime("lib/a.wav")
        return write(self, one, path)

    with monkeypatch.context() as patch:
        patch.setattr(encoder.Encoder, "write", change)
        assert go("lib", "small")["a.wav"].error == "was changed meanwhile: run again"
    assert statuses(go("lib", "small")) == {"done": 1}


def test_names_that_are_too_long_fail() -> None:
    make_audio(f"lib/{'x' * 251}.wav")
    make_audio("lib/a.wav")
    go("lib", "small", copy_other=True)
    outcomes = go("small", "back", decode=True)
    assert statuses(outcomes) == {"done": 1, "failed": 1}
    failed = next(done for done in outcomes.values() if done.status == "failed")
    assert failed.error.endswith("cannot be written: File name too long")


def test_progress_adds_up() -> None:
    make_audio("lib/long.wav", n_samples=400_000)
    make_mixed(Path("lib"))
    told: list[int] = []
    make_audio("lib/bad.wav").write_bytes(b"bad")
    n_bytes = sum(path.stat().st_size for path in Path("lib").rglob("*") if path.is_file())
    go("lib", "small", on_progress=told.append)
    assert sum(told) == n_bytes


def test_bytes_and_seconds_are_told() -> None:
    make_audio("lib/a.wav", n_samples=12_000)
    done = go("lib", "small")["a.wav"]
    assert (done.target, done.seconds) == ("a.ncx", 1.5)
    assert done.n_bytes_in == Path("lib/a.wav").stat().st_size
    assert done.n_bytes_out == Path("small/a.ncx").stat().st_size
    assert done.elapsed_s > 0
    assert len(done.sha256) == 64


def test_closing_ends_a_run() -> None:
    for number in range(100):
        make_audio(f"lib/{number}.wav", seed=number)
    outcomes = convert("lib", "small", model="tiny", n_workers=0)
    next(outcomes)
    outcomes.close()
    assert state_files(Path("small")) == [".jsonl"]
    n_made = len(contents(Path("small")))
    assert 0 < n_made < 100
    assert statuses(go("lib", "small"))["skipped"] > 0
    assert len(contents(Path("small"))) == 100


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"model": "nosuch"}, ModelMissing),
        ({"n_q": 9}, UsageError),
        ({"n_q": 2, "bandwidth_kbps": 1.6}, UsageError),
        ({"effort": 0}, UsageError),
        ({"denoise": True}, UsageError),
        ({"entropy": "nosuch"}, UsageError),
        ({"engine": "nosuch"}, UsageError),
        ({"decode": True, "container": "nosuch"}, UsageError),
        ({"decode": True, "subtype": "nosuch"}, UsageError),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(options: dict[str, Any], error: type) -> None:
    make_audio("lib/a.wav")
    if "decode" not in options:
        options = {"model": "tiny", **options}
    with pytest.raises(error):
        convert("lib", "small", **options)
    assert not Path("small").exists()


def test_a_target_that_is_a_file_is_refused() -> None:
    make_audio("lib/a.wav")
    Path("small").touch()
    with pytest.raises(UsageError, match="^small: cannot be written: "):
        go("lib", "small")


def test_what_a_format_cannot_hold_is_told() -> None:
    make_audio("lib/a.wav", rate=11025)
    make_audio(f"lib/{ODD}.wav", n_samples=0)
    go("lib", "small")
    outcomes = go("small", "back", decode=True, container="opus")
    assert (
        outcomes["a.ncx"].error == "opus has no 11025 Hz; it has 8000, 12000, 16000, 24000, 48000"
    )
    outcomes = go("small", "back", decode=True)
    assert (
        outcomes[f"{ODD}.ncx"].error
        == "libsndfile cannot write 0 samples in this format; wav holds them"
    )


def test_subtypes() -> None:
    make_audio("lib/a.wav")
    go("lib", "small")
    go("small", "back", decode=True, container="wav", subtype="PCM_24")
    assert soundfile.info("back/a.wav").subtype == "PCM_24"


@pytest.fixture
def bucket() -> str:
    """An empty tree in memory."""
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    return "memory://bucket/lib"


def test_elsewhere_and_back(bucket: str) -> None:
    make_mixed(Path("lib"))
    shutil.rmtree(Path("lib", ODD))  # whose name is not Unicode
    Path("lib/nothing.wav").unlink()
    Path("lib/cover.jpg").write_bytes(b"picture")
    go("lib", "here")
    fs = fsspec.filesystem("memory")
    fs.put("lib/", "/bucket/lib/", recursive=True)
    n_files = len(contents(Path("lib")))
    small = "memory://bucket/small"
    outcomes = go(bucket, small, copy_other=True, verify=True)
    assert statuses(outcomes) == {"done": n_files - 1, "copied": 1}
    assert statuses(go(bucket, small, copy_other=True)) == {"skipped": n_files}
    assert statuses(go(small, "back", decode=True)) == {"done": n_files - 1}
    assert statuses(go("back", "memory://again")) == {"done": n_files - 1}
    made = {
        path.removeprefix("/bucket/small/"): fs.cat(path)
        for path in fs.find("/bucket/small")
        if STATE not in path
    }
    assert made.pop("cover.jpg") == b"picture"
    assert made == contents(Path("here"))
    assert not [path for path in Path().rglob("*") if path.suffix == ".work"]


def test_a_file_elsewhere_that_changes_is_done_again(bucket: str) -> None:
    fs = fsspec.filesystem("memory")
    fs.pipe(f"{bucket}/a.wav", make_audio("a.wav").read_bytes())
    assert statuses(go(bucket, "small")) == {"done": 1}
    fs.pipe(f"{bucket}/a.wav", make_audio("a.wav", seed=1).read_bytes())
    assert statuses(go(bucket, "small")) == {"done": 1}
    assert Path("small/a.ncx").read_bytes() == encoded(Path("a.wav"))


def test_names_elsewhere_do_not_lead_out(bucket: str) -> None:
    fs = fsspec.filesystem("memory")
    audio = make_audio("a.wav").read_bytes()
    fs.store["/bucket/lib/../../evil.wav"] = fs.store["/bucket/lib/x//y.wav"] = None
    for path in ("/bucket/lib/../../evil.wav", "/bucket/lib/x//y.wav", "/bucket/lib/a.wav"):
        file = fsspec.implementations.memory.MemoryFile(fs, path, audio)
        fs.store[path] = file
    outcomes = go(bucket, "deep/small")
    assert {name: done.error for name, done in outcomes.items()} == {
        "../../evil.wav": "has a name that leads out of its folder",
        "x//y.wav": "has a name that leads out of its folder",
        "a.wav": "",
    }
    assert not Path("evil.ncx").exists()


def test_a_place_that_is_not_there() -> None:
    with pytest.raises(UsageError, match="no such folder"):
        go("memory://nothing/there", "small")


def test_audio_errors_name_no_file_twice() -> None:
    assert issubclass(AudioError, Exception)
    Path("lib/sub").mkdir(parents=True)
    Path("lib/sub/a.wav").write_bytes(b"RIFF")
    assert "sub/a.wav" not in go("lib", "small")["sub/a.wav"].error


@pytest.mark.parametrize("n_samples", [8000, 400_000])
def test_tags_and_pictures_are_those_of_encode(n_samples: int) -> None:
    pairs = (("ARTIST", "A=A"), ("ARTIST", "B / C"), ("COMMENT", "x" * 70_000), ("ODD", "y"))
    pictures = (Picture(b"\x89PNG" + bytes(80_000), "image/png"), Picture(b"GIF8", "image/gif", 4))
    path = make_audio("lib/a.flac", n_samples=n_samples)
    assert write_metadata(path, "FLAC", Metadata(pairs, pictures)) == NOTHING
    (outcome,) = go("lib", "small").values()
    assert outcome.remarks == ()
    made = Path("small/a.ncx").read_bytes()
    assert made == encoded(path)
    header = Reader(io.BytesIO(made)).header
    assert (header.tags, header.pictures) == (pairs, pictures)
    ncodec.decode_file(made, "back.flac")
    with Path("back.flac").open("rb") as stream:
        assert read_metadata(stream) == Metadata(pairs, pictures)
    (outcome,) = go("lib", "without", keep_pictures=False).values()
    assert outcome.remarks == ()
    header = Reader(io.BytesIO(Path("without/a.ncx").read_bytes())).header
    assert (header.tags, header.attachments) == (pairs, ())


@pytest.mark.parametrize("n_samples", [8000, 400_000])
def test_what_is_left_out_is_named(n_samples: int) -> None:
    path = make_audio("lib/a.aiff", n_samples=n_samples)
    pictures = Picture(bytes(1 << 24), "image/png"), Picture(b"\x89PNG", "image/png", 4, "x")
    tags = ("TITLE", "x"), ("ODD", "y")
    write_metadata(path, "AIFF", Metadata(tags, pictures))
    frames = AIFF(path)
    frames["TXXX:ODD"].desc = "Ünder"
    frames.save()
    what = ("the tag '\\xdcNDER', whose name is not of the letters that a name can have",
            "picture 1 of 16777216 bytes")  # fmt: skip
    (outcome,) = go("lib", "small").values()
    assert outcome.remarks == (f"without {', '.join(what)}",)
    made = Path("small/a.ncx").read_bytes()
    assert made == encoded(path)
    header = Reader(io.BytesIO(made)).header
    assert (header.tags, header.pictures) == (tags[:1], pictures[1:])
    with AudioSource(path) as source:
        done = encode_audio(source, io.BytesIO(), EncodeOptions("tiny", n_q=4).resolve())
    assert done.left_out == what
    assert done.picture_bytes == 4
