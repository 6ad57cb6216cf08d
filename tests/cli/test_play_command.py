"""`ncodec play`, on a sound card that is made up."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile
from ran import Run

MakeNcx = Callable[..., Path]


class Card(ModuleType):
    """What `play` uses of sounddevice, and what it was given.

    rates  that it has, None for all
    """

    class PortAudioError(Exception):
        """As sounddevice has it."""

    def __init__(self, rates: tuple[int, ...] | None = None) -> None:
        super().__init__("sounddevice")
        self.rates = rates
        self.is_there = True
        self.played: list[np.ndarray] = []
        self.settings: dict[str, Any] = {}
        self.ended = ""
        self.on_write: Callable[[], None] = lambda: None
        card = self

        class OutputStream:
            def __init__(self, **settings: Any) -> None:
                card.settings = settings

            def __enter__(self) -> "OutputStream":
                return self

            def __exit__(self, *_: object) -> None:
                card.ended = card.ended or "whole"

            def write(self, samples: np.ndarray) -> None:
                assert samples.flags.c_contiguous
                assert samples.dtype == np.float32
                card.on_write()
                card.played.append(samples)

            def abort(self) -> None:
                card.ended = "aborted"

        self.OutputStream = OutputStream

    def query_devices(self, kind: str) -> dict[str, Any]:
        assert kind == "output"
        if not self.is_there:
            raise self.PortAudioError("Error querying device -1")
        return {"default_samplerate": 44100.0}

    def check_output_settings(self, **settings: Any) -> None:
        if self.rates is not None and settings["samplerate"] not in self.rates:
            raise self.PortAudioError("Invalid sample rate [PaErrorCode -9997]")

    @property
    def audio(self) -> np.ndarray:
        return np.concatenate(self.played)


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Card:
    card = Card()
    monkeypatch.setitem(sys.modules, "sounddevice", card)
    return card


def decoded(run: Run, *options: str) -> np.ndarray:
    assert run("decode", "song.ncx", *options, "--subtype", "FLOAT", "-o", "a.wav", "-f").code == 0
    return soundfile.read("a.wav", dtype="float32", always_2d=True)[0]


@pytest.mark.quick
@pytest.mark.parametrize("options", [(), ("--start", "0.2", "--end", "0:00.7")])
def test_it_plays_what_decode_decodes(
    run: Run, make_ncx: MakeNcx, card: Card, options: tuple[str, ...]
) -> None:
    make_ncx("song.ncx", n_samples=8000, n_channels=2)
    ran = run("play", "song.ncx", *options)
    assert (ran.code, ran.out) == (0, "")
    assert ran.err == f"song.ncx: 0:0{'0.5' if options else '1.0'}\n"
    assert np.abs(card.audio - decoded(run, *options)).max() < 1e-6
    assert (card.settings["samplerate"], card.settings["channels"]) == (8000, 2)
    assert card.ended == "whole"
    assert max(len(piece) for piece in card.played) == 800


def test_standard_input(run: Run, make_ncx: MakeNcx, card: Card) -> None:
    content = make_ncx("song.ncx", n_samples=8000).read_bytes()
    ran = run("play", "-q", "-", stdin=content)
    assert (ran.code, ran.err) == (0, "")
    assert len(card.audio) == 8000


def test_a_rate_that_the_card_lacks(run: Run, make_ncx: MakeNcx, card: Card) -> None:
    make_ncx("song.ncx", n_samples=8000)
    card.rates = (44100, 48000)
    assert run("play", "song.ncx").code == 0
    assert card.settings["samplerate"] == 44100
    assert np.abs(card.audio - decoded(run, "--rate", "44100")).max() < 1e-6


def test_what_comes_before_damage_is_played(run: Run, make_ncx: MakeNcx, card: Card) -> None:
    whole = bytearray(make_ncx("song.ncx", "--entropy", "packed", n_samples=8000 * 25).read_bytes())
    whole[-60] ^= 1  # in the last packet, or what follows it
    Path("song.ncx").write_bytes(whole)
    ran = run("play", "song.ncx")
    assert ran.code == 1
    assert ran.err.startswith("ncodec: error: song.ncx: ")
    assert len(card.audio) >= 8000 * 19
    assert card.ended == "whole"


def test_an_interrupt_stops_at_once(
    run: Run, make_ncx: MakeNcx, card: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_ncx("song.ncx", n_samples=8000 * 25)
    from ncodec.cli.play import _Player

    push = _Player.push

    def interrupted(player: Any, block: Any) -> None:
        push(player, block)
        raise KeyboardInterrupt

    monkeypatch.setattr(_Player, "push", interrupted)
    ran = run("play", "song.ncx")
    assert (ran.code, ran.err) == (130, "ncodec: interrupted\n")
    assert card.ended == "aborted"


def test_a_card_that_fails(run: Run, make_ncx: MakeNcx, card: Card) -> None:
    make_ncx("song.ncx", n_samples=8000 * 45)

    def fail() -> None:
        raise card.PortAudioError("Device unavailable")

    card.on_write = fail
    ran = run("play", "song.ncx")
    assert (ran.code, ran.err) == (1, "ncodec: error: sound card: Device unavailable\n")
    card.is_there = False
    ran = run("play", "song.ncx")
    assert (ran.code, ran.err) == (1, "ncodec: error: sound card: Error querying device -1\n")


def test_without_sounddevice(run: Run, make_ncx: MakeNcx, monkeypatch: pytest.MonkeyPatch) -> None:
    make_ncx("song.ncx")
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    ran = run("play", "song.ncx")
    said = "play needs sounddevice: pip install 'ncodec[play]'"
    assert (ran.code, ran.err) == (2, f"ncodec: error: {said}\n")


def test_memory_is_bounded(run: Run, make_ncx: MakeNcx, card: Card) -> None:
    """Decoding waits for the sound card."""
    make_ncx("song.ncx", n_samples=8000 * 65)
    from ncodec.cli import play

    ahead: list[int] = []
    given = 0
    push = play._Player.push
    card.on_write = lambda: time.sleep(0.002)  # decoding is faster

    def counted(player: Any, block: Any) -> None:
        nonlocal given
        push(player, block)
        if block is not None:
            given += 1
            seconds = player.n_played / 8000
            ahead.append(given - int(seconds // 10))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(play._Player, "push", counted)
        assert run("play", "-q", "song.ncx").code == 0
    assert given >= 6
    assert max(ahead) <= play._BLOCKS_AHEAD + 2
