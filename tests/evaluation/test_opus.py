"""Opus beside, and how much of its files is Ogg."""

import shutil
import struct

import numpy as np
import pytest

from ncodec.errors import AudioError, UsageError
from ncodec.evaluation import opus
from ncodec.evaluation.alignment import find_lag

needs_opus = pytest.mark.skipif(
    any(shutil.which(name) is None for name in opus.PROGRAMS), reason="opus-tools are not there"
)


def page(*lengths: int) -> bytes:
    """An Ogg page of packets; one of 255 goes on in the next page."""
    laced = b"".join(b"\xff" * (n // 255) + bytes([n % 255] if n != 255 else []) for n in lengths)
    head = b"OggS" + struct.pack("<BBqIII", 0, 0, 0, 0, 0, 0)
    return head + bytes([len(laced)]) + laced + bytes(sum(lengths))


def test_payload_is_what_lies_in_the_packets_behind_the_headers() -> None:
    tags_over_two_pages = [page(255), page(45)]
    blob = b"".join([page(19), *tags_over_two_pages, page(100, 30, 300), page(7)])
    assert opus.ogg_payload_bytes(blob) == 437


def test_programs_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match="opus: opusenc and opusdec not found"):
        opus.check_installed()


@needs_opus
@pytest.mark.parametrize("rate", [22050, 48000])
def test_opus_comes_back_in_time(rate: int) -> None:
    opus.check_installed()
    t = np.arange(2 * rate) / rate
    noise = np.random.default_rng(1).standard_normal(2 * rate)
    wav = np.stack([0.3 * np.sin(2 * np.pi * (200 + 300 * t) * t), 0.02 * noise]).astype(np.float32)
    coded = opus.OpusCoder(32.0).code(wav, rate)
    assert coded.wav.shape == wav.shape
    assert abs(find_lag(wav, coded.wav, 500)) <= 3
    assert 20_000 < 8 * coded.payload_bytes / 2 < 50_000
    assert 100 < coded.n_bytes - coded.payload_bytes < 800


@needs_opus
def test_what_opusenc_says_is_passed_on() -> None:
    with pytest.raises(AudioError, match="opusenc: "):
        opus.OpusCoder(1e6).code(np.zeros((1, 800), np.float32), 8000)
