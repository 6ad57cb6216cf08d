"""Tracks that follow each other: no step between them, and nothing that one by itself has not."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile

import ncodec
from ncodec.audio import AudioSource
from ncodec.encoding.encoder import Encoded
from ncodec.encoding.gapless import QUIETEST_PEAK, TrackOpener, encode_gapless
from ncodec.encoding.options import EncodeOptions
from ncodec.errors import AudioError
from ncodec.formats.ncx import Reader

SAMPLES = Path(__file__).parents[2] / "samples"
RATE_HZ = 8000


@pytest.fixture(autouse=True)
def _models(cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NCODEC_CACHE", str(cache))
    monkeypatch.chdir(tmp_path)


def noise(seconds: float, n_channels: int = 1, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    shape = (n_channels, round(seconds * RATE_HZ))
    return (0.1 * rng.standard_normal(shape)).astype(np.float32)


def openers(*tracks: np.ndarray, rate_hz: int = RATE_HZ) -> list[TrackOpener]:
    """Write a file for each track [C, T]."""
    names = [f"{number}.wav" for number in range(len(tracks))]
    for name, track in zip(names, tracks, strict=True):
        soundfile.write(name, track.T, rate_hz, "FLOAT")
    return [lambda name=name: AudioSource(name) for name in names]


def gapless(
    tracks: list[TrackOpener], model: str = "modelled"
) -> Iterator[tuple[bool, bytes, Encoded]]:
    """Yield whether each track follows the one before, its file, and what that came to."""
    for number, track in enumerate(encode_gapless(tracks, EncodeOptions(model).resolve())):
        sink = io.BytesIO()
        assert track.number == number
        done = track.write(sink)
        yield track.follows, sink.getvalue(), done


def decoded(blob: bytes) -> np.ndarray:
    return ncodec.decode(blob)[0]


def alone(wav: np.ndarray, model: str = "modelled") -> bytes:
    return ncodec.encode(wav, RATE_HZ, model=model)


def steps(wav: np.ndarray, places: list[int]) -> list[float]:
    """Return the greatest step of any channel just before these samples."""
    return [float(np.abs(wav[:, place] - wav[:, place - 1]).max()) for place in places]


SINE = (0.4 * np.sin(2 * np.pi * 440 / 44100 * np.arange(4 * 44100))).astype(np.float32)[None]


@pytest.mark.parametrize("kind", ["sine", "music"])
def test_no_step_between_tracks(kind: str) -> None:
    wav, rate = SINE, 44100
    if kind == "music":
        music, rate = soundfile.read(SAMPLES / "music_stereo.flac", dtype="float32")
        wav = np.ascontiguousarray(music.T)
    seams = [round(1.7777 * rate), round(3.2345 * rate)]
    tracks = np.split(wav, seams, axis=1)
    made = [*gapless(openers(*tracks, rate_hz=rate), "spectral")]
    assert [follows for follows, _, _ in made] == [False, True, True]
    heard = np.concatenate([decoded(blob) for _, blob, _ in made], axis=1)
    whole = decoded(ncodec.encode(wav, rate))
    assert np.array_equal(heard, whole)
    by_itself = np.concatenate([decoded(ncodec.encode(track, rate)) for track in tracks], axis=1)
    # Elsewhere, a sine of 440 Hz has steps of .025, and the music, where it was cut, of .002.
    assert max(steps(heard, seams)) < {"sine": 0.03, "music": 0.002}[kind]
    assert max(steps(by_itself, seams)) > 0.05


def test_one_by_itself_is_what_encode_makes() -> None:
    tracks = [noise(1.5), noise(12.5, 2), noise(0.5), np.zeros((1, 4000), np.float32)]
    tracks += [np.zeros((1, 0), np.float32)]
    made = [*gapless(openers(*tracks))]
    # Of other numbers of channels, or silent where they meet: nothing is joined.
    assert not any(follows for follows, _, _ in made)
    assert [blob for _, blob, _ in made] == [alone(track) for track in tracks]
    assert [done.n_samples for _, _, done in made] == [track.shape[1] for track in tracks]


def test_ends_that_are_silent_are_not_joined() -> None:
    loud, faint = noise(1), noise(1, seed=1)
    faint[:, -400:] = np.float32(QUIETEST_PEAK)
    made = [*gapless(openers(loud, faint, loud))]
    assert [follows for follows, _, _ in made] == [False, True, False]
    faint[:, -1] = np.float32(2 * QUIETEST_PEAK)
    made = [*gapless(openers(loud, faint, loud))]
    assert [follows for follows, _, _ in made] == [False, True, True]


def test_files_are_complete_and_short() -> None:
    tracks = [noise(11.3, seed=seed) for seed in range(3)]
    whole = len(alone(np.concatenate(tracks, axis=1)))
    made = [*gapless(openers(*tracks))]
    for track, (_, blob, done) in zip(tracks, made, strict=True):
        header = Reader(io.BytesIO(blob)).header
        assert header.n_samples == done.n_samples == track.shape[1]
        assert done.n_bytes == len(blob)
        assert decoded(blob).shape == track.shape
    assert whole < sum(len(blob) for _, blob, _ in made) < 1.3 * whole


def test_tags_are_those_of_each_track() -> None:
    for number in range(2):
        with soundfile.SoundFile(f"{number}.flac", "w", RATE_HZ, 1) as file:
            file.title = f"Track {number}"
            file.write(noise(1, seed=number).T)
    tracks = [lambda name=f"{number}.flac": AudioSource(name) for number in range(2)]
    made = [*gapless(tracks)]
    assert [follows for follows, _, _ in made] == [False, True]
    titles = [Reader(io.BytesIO(blob)).header.tag("TITLE") for _, blob, _ in made]
    assert titles == [("Track 0",), ("Track 1",)]


@contextmanager
def _breaking(name: str, after: int) -> Iterator[AudioSource]:
    """Give a track of which only the first `after` blocks can be read."""
    with AudioSource(name) as source:
        blocks = source.blocks

        def some(n: int) -> Iterator[np.ndarray]:
            for number, block in enumerate(blocks(1000)):
                if number == after:
                    raise AudioError(f"{name}: broken")
                yield block

        source.blocks = some  # type: ignore[method-assign]
        yield source


@pytest.mark.parametrize("after", [0, 5])
def test_one_that_breaks_costs_no_other(after: int) -> None:
    tracks = openers(*(noise(1, seed=seed) for seed in range(5)))
    before, behind = [*gapless(tracks[:2])], [*gapless(tracks[3:])]
    tracks[2] = lambda: _breaking("2.wav", after)
    found: list[tuple[bool, bytes] | str] = []
    for track in encode_gapless(tracks, EncodeOptions("modelled").resolve()):
        sink = io.BytesIO()
        try:
            track.write(sink)
            found.append((track.follows, sink.getvalue()))
        except AudioError as error:
            found.append(str(error))
    assert found[2] == "2.wav: broken"
    if not after:  # else what is heard of it is coded with those before
        assert found[:2] == [one[:2] for one in before]
    assert [one[0] for one in found if not isinstance(one, str)] == [False, True, False, True]
    assert found[3:] == [one[:2] for one in behind]


def test_one_that_cannot_be_opened_costs_no_other() -> None:
    tracks = openers(noise(1), noise(1, seed=1))
    made = encode_gapless(
        [lambda: AudioSource("none.wav"), *tracks], EncodeOptions("modelled").resolve()
    )
    first = next(made)
    with pytest.raises(AudioError, match=r"^none\.wav: cannot be read: No such file"):
        first.write(io.BytesIO())
    assert [track.follows for track in made] == [False, True]


def test_one_track_is_open_at_a_time() -> None:
    n_open: list[int] = [0]
    most: list[int] = []

    def counted(opener: TrackOpener) -> TrackOpener:
        @contextmanager
        def opened() -> Iterator[AudioSource]:
            n_open[0] += 1
            most.append(n_open[0])
            with opener() as source:
                yield source
            n_open[0] -= 1

        return opened

    heard: Callable[[int, float], None] = lambda number, seconds: most.append(n_open[0])  # noqa: E731
    tracks = [counted(one) for one in openers(*(noise(1, seed=seed) for seed in range(4)))]
    [*encode_gapless(tracks, EncodeOptions("modelled").resolve(), on_progress=heard)]
    assert (n_open, max(most), len(most)) == ([0], 1, 8)
