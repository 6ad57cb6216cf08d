"""Makes the audio in this folder: `python samples/make_samples.py [folder]`.

Speech comes from espeak-ng, which must be installed; music is rendered here, from seeded noise
and sums of sines, so every run gives the same samples.

Shapes: T samples; music is float64 [2, T] (left, right) until it is written.
"""

import io
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ncodec import audio

Signal = NDArray[np.float64]

SPEECH = {  # file -> voice, words per minute, pitch, sentence
    "speech_male": (
        "en-us", 160, 42, "Seven ships left the harbour before sunrise, "
        "and only the smallest one turned back.",
    ),
    "speech_female": (
        "en-gb+f3", 165, 55, "Would you please measure the width of the garden "
        "before the new fence arrives on Thursday?",
    ),
}  # fmt: skip
LICENCE = "CC0-1.0"
PEAK = 0.89  # -1 dB


@dataclass(frozen=True, slots=True)
class Song:
    """Two bars of four beats, and the time in which they die away."""

    beats_per_minute: float
    chords: Sequence[tuple[int, ...]]  # MIDI notes, as long as each other
    melody: Sequence[tuple[float, int, float]]  # beat, MIDI note, loudness
    kick: Sequence[float]  # beats
    snare: Sequence[float]
    seed: int


MONO = Song(  # A minor: Am F C G
    beats_per_minute=104,
    chords=((57, 60, 64), (53, 57, 60), (55, 60, 64), (55, 59, 62)),
    melody=(
        (0, 76, 1.0), (0.5, 72, 0.7), (1, 69, 0.8), (1.5, 72, 0.7), (2, 77, 1.0), (2.75, 76, 0.6),
        (3, 72, 0.8), (3.5, 69, 0.6), (4, 79, 1.0), (4.5, 76, 0.7), (5, 72, 0.8), (5.5, 76, 0.7),
        (6, 74, 1.0), (6.75, 71, 0.6), (7, 74, 0.8), (7.5, 76, 0.7), (8, 69, 0.9),
    ),
    kick=(0, 1.5, 2, 4, 5.5, 6),
    snare=(1, 3, 5, 7, 7.75),
    seed=1,
)  # fmt: skip
STEREO = Song(  # D major: D Bm G A
    beats_per_minute=116,
    chords=((62, 66, 69), (59, 62, 66), (55, 59, 62, 66), (57, 61, 64)),
    melody=(
        (0, 78, 0.9), (0.75, 76, 0.7), (1.5, 74, 0.8), (2, 73, 0.9), (2.75, 74, 0.7),
        (3.5, 78, 0.8), (4, 79, 1.0), (4.75, 78, 0.7), (5.5, 74, 0.8), (6, 76, 0.9),
        (6.5, 73, 0.7), (7, 69, 0.7), (7.5, 73, 0.8), (8, 74, 1.0),
    ),
    kick=(0, 1, 2, 3, 4, 5, 6, 7),
    snare=(1, 3, 5, 7),
    seed=2,
)  # fmt: skip


def make_speech(voice: str, words_per_minute: int, pitch: int, text: str) -> tuple[Signal, int]:
    """Return [1, T] at espeak-ng's own rate, 22 050 Hz, with 60 ms of silence around it."""
    command = ["espeak-ng", "-v", voice, "-s", str(words_per_minute), "-p", str(pitch)]
    done = subprocess.run([*command, "--stdout", text], check=True, capture_output=True)
    wav, rate = audio.read(io.BytesIO(done.stdout))
    loud = np.flatnonzero(np.abs(wav[0]) > 1e-3)
    margin = int(0.06 * rate)
    wav = np.pad(wav[:, loud[0] : loud[-1] + 1].astype(np.float64), ((0, 0), (margin, margin)))
    return wav * PEAK / np.abs(wav).max(), rate


def pluck(note: float, seconds: float, rate: int, brightness: float) -> Signal:
    """A plucked string: harmonics that die the faster, the higher they are."""
    time = np.arange(int(seconds * rate)) / rate
    pitch = 440 * 2 ** ((note - 69) / 12)
    out = np.zeros_like(time)
    for k in range(1, 40):
        frequency = k * pitch * np.sqrt(1 + 1e-4 * k * k)  # strings are a little stiff
        if frequency > 0.45 * rate:
            break
        level = np.sin(np.pi * k * 0.19) / k ** (2 - brightness)
        out += level * np.exp(-time * (1.5 + 0.9 * k)) * np.sin(2 * np.pi * frequency * time)
    return out * np.minimum(1, time / 0.002) * _fade(time, seconds)


def pad(note: float, seconds: float, rate: int, phase: float) -> Signal:
    """A soft chord tone: two slightly mistuned organ pipes."""
    time = np.arange(int(seconds * rate)) / rate
    pitch = 440 * 2 ** ((note - 69) / 12)
    out = np.zeros_like(time)
    for detune in (0.9985, 1.0015):
        for k, level in ((1, 1.0), (2, 0.5), (3, 0.25), (4, 0.12), (6, 0.06)):
            out += level * np.sin(2 * np.pi * k * pitch * detune * time + phase * k)
    return 0.3 * out * np.minimum(1, time / 0.06) * _fade(time, seconds, 0.12)


def _fade(time: Signal, seconds: float, length: float = 0.03) -> Signal:
    return np.clip((seconds - time) / length, 0, 1)


def kick(rate: int) -> Signal:
    """A falling sine and a click."""
    time = np.arange(int(0.35 * rate)) / rate
    phase = 2 * np.pi * (48 * time + 110 * 0.03 * (1 - np.exp(-time / 0.03)))
    return np.sin(phase) * np.exp(-time / 0.1) + 0.3 * np.exp(-time / 0.002)


def _noise(seconds: float, rate: int, low_hz: float, rng: np.random.Generator) -> Signal:
    """White noise above `low_hz`."""
    n = int(seconds * rate)
    spectrum = np.fft.rfft(rng.standard_normal(n))
    frequency = np.fft.rfftfreq(n, 1 / rate)
    return np.fft.irfft(spectrum / (1 + (low_hz / np.maximum(frequency, 1)) ** 4), n)


def snare(rate: int, rng: np.random.Generator) -> Signal:
    """Noise over two drum-head tones."""
    noise = _noise(0.22, rate, 900, rng)
    time = np.arange(len(noise)) / rate
    tones = np.sin(2 * np.pi * 185 * time) + 0.6 * np.sin(2 * np.pi * 331 * time)
    return 0.35 * noise * np.exp(-time / 0.06) + 0.5 * tones * np.exp(-time / 0.05)


def hat(rate: int, rng: np.random.Generator, *, is_open: bool) -> Signal:
    """Short high noise."""
    noise = _noise(0.2, rate, min(7000, 0.3 * rate), rng)
    time = np.arange(len(noise)) / rate
    return 0.3 * noise * np.exp(-time / (0.07 if is_open else 0.018))


def render(song: Song, rate: int) -> Signal:
    """Return the song as [2, T]."""
    rng = np.random.default_rng(song.seed)
    beat = 60 / song.beats_per_minute
    tail = 1.0
    out = np.zeros((2, int((8 * beat + tail) * rate)))
    wet = np.zeros_like(out)

    def play(signal: Signal, at: float, level: float, side: float, echo: float = 0.0) -> None:
        """Add at beat `at`; `side` -1 left to 1 right, at equal power."""
        start = int(at * beat * rate)
        angle = (side + 1) * np.pi / 4
        both = level * np.outer((np.cos(angle), np.sin(angle)), signal)[:, : out.shape[1] - start]
        out[:, start : start + both.shape[1]] += both
        wet[:, start : start + both.shape[1]] += echo * both

    span = 8 / len(song.chords)
    for i, chord in enumerate(song.chords):
        for j, note in enumerate(chord):
            side = -0.8 + 1.6 * j / (len(chord) - 1)
            play(pad(note, span * beat + 0.1, rate, rng.uniform(0, 6)), i * span, 0.16, side, 0.5)
        for eighth in range(int(2 * span)):
            note = min(chord) - 24 + (12 if eighth % 4 == 3 else 0)
            play(pluck(note, 0.6 * beat, rate, 0.5), i * span + eighth / 2, 0.7, 0.0)
    for at, note, loudness in song.melody:
        play(pluck(note, 1.2, rate, 1.0), at, 0.42 * loudness, 0.35, 0.6)
    for at in song.kick:
        play(kick(rate), at, 0.75, 0.0)
    for at in song.snare:
        play(snare(rate, rng), at, 0.5, -0.12, 0.4)
    for eighth in range(16):
        is_open = eighth % 8 == 7
        play(hat(rate, rng, is_open=is_open), eighth / 2, 0.5 if eighth % 2 else 0.32, 0.6, 0.1)
    out += 0.25 * _reverb(wet, rate, rng)
    out *= np.clip((out.shape[1] - np.arange(out.shape[1])) / (0.4 * rate), 0, 1)
    return out


def _reverb(wet: Signal, rate: int, rng: np.random.Generator) -> Signal:
    """Convolve each side with its own dying noise: a small hall."""
    time = np.arange(int(0.9 * rate)) / rate
    room = rng.standard_normal((2, len(time))) * np.exp(-time / 0.16) * np.minimum(1, time / 0.01)
    room /= np.sqrt((room**2).sum(axis=1, keepdims=True))
    n = 1 << (wet.shape[1] + len(time)).bit_length()
    spectrum = np.fft.rfft(wet, n, axis=1) * np.fft.rfft(room, n, axis=1)
    return np.fft.irfft(spectrum, n, axis=1)[:, : wet.shape[1]]


def make_music(name: str) -> tuple[Signal, int]:
    """Return "music_mono" as [1, T] at 24 kHz or "music_stereo" as [2, T] at 48 kHz."""
    if name == "music_mono":
        wav, rate = render(MONO, 24000).mean(axis=0, keepdims=True), 24000
    else:
        wav, rate = render(STEREO, 48000), 48000
    return wav * PEAK / np.abs(wav).max(), rate


def main(folder: Path) -> None:
    """Write every sample into `folder`."""
    made = {name: make_speech(*how) for name, how in SPEECH.items()}
    made |= {name: make_music(name) for name in ("music_mono", "music_stereo")}
    for name, (wav, rate) in made.items():
        tags = (
            ("TITLE", name.replace("_", " ")),
            ("ARTIST", "ncodec samples"),
            ("LICENSE", LICENCE),
        )
        path = folder / f"{name}.flac"
        audio.write(path, wav, rate, tags=tags, overwrite=True)
        print(f"{path.name}: {wav.shape[1] / rate:.2f} s, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
