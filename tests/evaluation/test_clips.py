"""Which files are coded, and what of them."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from ncodec.errors import UsageError
from ncodec.evaluation import Excerpt, find_clips, has_stereo, total_seconds
from ncodec.evaluation.clips import load_clip


def ramp(path: Path, n: int = 1600, channels: int = 1, rate: int = 8000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    steps = np.linspace(-0.5, 0.5, n)[:, None] * np.ones(channels) / np.arange(1, channels + 1)
    soundfile.write(path, steps, rate, "FLOAT")
    return path


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    names = ("speech/a.wav", "speech/b.wav", "speech/in/b.wav", "music/c.wav", "d.wav",
             "speech/.hidden.wav")  # fmt: skip
    for name in names:
        ramp(folder / name)
    (folder / "speech" / "notes.txt").touch()
    return folder


def test_groups_are_the_folders_inside(corpus: Path) -> None:
    clips = find_clips([], [corpus])
    assert [(clip.group, clip.name, clip.is_speech) for clip in clips] == [
        ("corpus", "corpus/d.wav", False),
        ("music", "music/c.wav", False),
        ("speech", "speech/a.wav", True),
        ("speech", "speech/b.wav", True),
        ("speech", "speech/in/b.wav", True),
    ]


def test_single_files_belong_to_their_folder(corpus: Path) -> None:
    copy = ramp(corpus / "other" / "speech" / "a.wav")
    clips = find_clips([corpus / "speech" / "a.wav", corpus / "d.wav", copy, copy])
    assert [clip.group for clip in clips] == ["corpus", "speech", "speech"]
    assert {clip.name for clip in clips} == {"corpus/d.wav", "speech/a.wav", copy.as_posix()}


def test_held_out_files(corpus: Path) -> None:
    patterns = ["speech/b.*", "music/*"]
    names = ["music/c.wav", "speech/b.wav"]
    assert [clip.name for clip in find_clips([], [corpus], patterns=patterns)] == names
    folders = [corpus / "speech", corpus / "music"]  # the patterns hold for each of them too
    assert [clip.name for clip in find_clips([], folders, patterns=patterns)] == names


def test_some_clips_stand_for_many(tmp_path: Path) -> None:
    for number in range(10):
        ramp(tmp_path / "g" / f"{number}.wav")
    found = find_clips([], [tmp_path / "g"], per_group=4)
    assert [clip.path.stem for clip in found] == ["0", "2", "5", "7"]


def test_speech_is_what_the_pattern_says(corpus: Path) -> None:
    clips = find_clips([], [corpus], speech="MUSIC/*")
    assert [clip.name for clip in clips if clip.is_speech] == ["music/c.wav"]


def test_nothing_to_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no audio files in"):
        find_clips([], [tmp_path])
    with pytest.raises(UsageError, match="no such folder"):
        find_clips([], [tmp_path / "none"])
    ramp(tmp_path / "a.wav")
    with pytest.raises(UsageError, match="no held-out audio files in"):
        find_clips([], [tmp_path], patterns=["b"])


def test_the_middle_is_coded(tmp_path: Path) -> None:
    (clip,) = find_clips([ramp(tmp_path / "a.wav", n=1601, channels=2)])
    whole, rate = load_clip(clip, Excerpt(None))
    assert (whole.shape, rate) == ((2, 1601), 8000)
    excerpt = Excerpt(0.05)
    middle, _ = load_clip(clip, excerpt)
    assert np.array_equal(middle, whole[:, 600:1000])
    mono, _ = load_clip(clip, Excerpt(0.05, mono=True))
    assert np.allclose(mono, middle.mean(0))
    assert load_clip(clip, Excerpt(0.05, 16000))[0].shape == (2, 800)
    assert total_seconds([clip, clip], excerpt) == pytest.approx(0.1)
    assert total_seconds([clip], Excerpt(None)) == pytest.approx(1601 / 8000)


def test_stereo_is_what_will_be_coded_so(tmp_path: Path) -> None:
    ramp(tmp_path / "mono.wav")
    ramp(tmp_path / "quad.wav", channels=4)
    (tmp_path / "bad.wav").write_text("no audio")
    assert not has_stereo(find_clips([], [tmp_path]), Excerpt())
    ramp(tmp_path / "two.wav", channels=2)
    assert has_stereo(find_clips([], [tmp_path]), Excerpt())
    assert not has_stereo(find_clips([], [tmp_path]), Excerpt(mono=True))
