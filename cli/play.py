"""`ncodec play`: .ncx files through the sound card."""

import contextlib
import queue
import threading
from collections.abc import Callable, Generator
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from ncodec.cli.inputs import open_codes, source_name
from ncodec.cli.options import quiet_option, segment_options, threads_option
from ncodec.cli.progress import clock, progress_bar, say
from ncodec.errors import AudioError, NcodecError, UsageError

if TYPE_CHECKING:
    from ncodec.audio.base import Audio

EXTRA = "pip install 'ncodec[play]'"
_PIECE_S = 0.1
"""What the sound card is handed at once, and how long an interrupt waits."""
_BLOCKS_AHEAD = 2
"""Decoded and not played yet: a bound on memory."""


@click.command()
@click.argument("file", type=click.Path(allow_dash=True, readable=False))
@segment_options()
@threads_option()
@quiet_option()
def play(file: str, start: float, end: float | None, quiet: bool) -> None:
    """Play an .ncx or .ecdc file through the sound card.

    Needs the package sounddevice: pip install 'ncodec[play]'. FILE is decoded while it plays; - is
    standard input. What comes before damage is played. Ctrl-C stops.

    \b
    Examples:
      ncodec play song.ncx
      ncodec play --start 1:00 --end 1:30 song.ncx
      arecord -f cd - | ncodec encode --live - | ncodec play -
    """  # noqa: D301
    card = _sounddevice()
    from ncodec.decoding import DecodeOptions, Decoding
    from ncodec.formats.ncx import Reader

    name = source_name(file)
    with open_codes(file) as stream, _naming_card(card):
        reader = Reader(stream, name)
        header = reader.header
        rate_hz = _rate_of(card, header.source_sample_rate_hz, header.n_channels)
        decoding = Decoding(reader, DecodeOptions(False, start, end, 1, rate_hz))
        total = None if decoding.n_samples is None else decoding.n_samples / rate_hz
        with (
            card.OutputStream(
                samplerate=rate_hz, channels=decoding.n_channels, dtype="float32", latency="high"
            ) as output,
            progress_bar(name, total, quiet=quiet) as advance,
            _playing(output, rate_hz, advance) as player,
        ):
            for block in decoding.blocks():
                player.push(block)
    say(f"{name}: {clock(player.n_played / rate_hz)}", quiet=quiet)


def _sounddevice() -> Any:
    """Return the module, of no types: it may not be there.

    Raises UsageError where it is not installed, AudioError where it lacks PortAudio.
    """
    try:
        return import_module("sounddevice")
    except ModuleNotFoundError:
        raise UsageError(f"play needs sounddevice: {EXTRA}") from None
    except OSError as error:
        raise AudioError(f"play: {error}; sounddevice, of {EXTRA}, needs it") from None


@contextlib.contextmanager
def _naming_card(card: Any) -> Generator[None]:
    """Turn errors of the sound card into one of ncodec's."""
    try:
        yield
    except card.PortAudioError as error:
        raise AudioError(f"sound card: {error}") from None


def _rate_of(card: Any, rate_hz: int, n_channels: int) -> int:
    """Return the rate to play at: that of the source, or the sound card's where it lacks that."""
    device = card.query_devices(kind="output")  # raises where there is none
    try:
        card.check_output_settings(samplerate=rate_hz, channels=n_channels, dtype="float32")
    except card.PortAudioError:
        return int(device["default_samplerate"])
    return rate_hz


class _Player:
    """A thread that hands blocks to the sound card, while others are decoded.

    output   a stream of sounddevice
    advance  called with the seconds that were handed over

    Attributes:
        n_played: samples, of each channel.
    """

    def __init__(self, output: Any, rate_hz: int, advance: Callable[[float], None]) -> None:
        self.n_played = 0
        self._output, self._rate_hz, self._advance = output, rate_hz, advance
        self._blocks: queue.Queue[Audio | None] = queue.Queue(_BLOCKS_AHEAD)
        self._stopped = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def push(self, block: "Audio | None") -> None:
        """Wait for room, and play a block [C, T] after those before it; None is the last.

        Raises what the sound card has raised.
        """
        while self._thread.is_alive():
            with contextlib.suppress(queue.Full):
                self._blocks.put(block, timeout=_PIECE_S)
                return
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Play nothing more, not even what the sound card has already."""
        self._stopped.set()
        self._thread.join()
        self._output.abort()

    def finish(self) -> None:
        """Wait until all was handed to the sound card. Raises what that has raised."""
        self.push(None)
        while self._thread.is_alive():  # a wait without an end could not be interrupted everywhere
            self._thread.join(_PIECE_S)
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        piece = max(1, int(_PIECE_S * self._rate_hz))
        try:
            while (block := self._next()) is not None:
                for first in range(0, block.shape[1], piece):
                    if self._stopped.is_set():
                        return
                    part = block[:, first : first + piece]
                    self._output.write(part.T.copy())
                    self.n_played += part.shape[1]
                    self._advance(part.shape[1] / self._rate_hz)
        except Exception as error:  # raised again where blocks come from
            self._error = error

    def _next(self) -> "Audio | None":
        while not self._stopped.is_set():
            with contextlib.suppress(queue.Empty):
                return self._blocks.get(timeout=_PIECE_S)
        return None


@contextlib.contextmanager
def _playing(output: Any, rate_hz: int, advance: Callable[[float], None]) -> Generator[_Player]:
    """Give a player, and wait for it in the end, unless that is an interrupt."""
    player = _Player(output, rate_hz, advance)
    try:
        try:
            yield player
        except NcodecError:  # of damage: what came before it is heard
            player.finish()
            raise
        player.finish()
    except KeyboardInterrupt:
        player.stop()
        raise
