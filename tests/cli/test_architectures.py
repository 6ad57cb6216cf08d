"""Every architecture, with random weights, through the commands."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from ran import Run
from tones import make_audio

from ncodec.hub.codecs import save_codec
from ncodec.models.registry import architecture, names

TINY = {
    "spectral-tiny": "spectral",
    "soundstream-tiny": "soundstream",
    "encodec-tiny": "encodec",
    "encodec-tiny-stereo": "encodec",
    "encodec-tiny-ahead": "encodec",
    "hilcodec-tiny": "hilcodec",
    "snac-tiny": "snac",
    "snac-tiny-windows": "snac",
    "dac-tiny": "dac",
    "mimi-tiny": "mimi",
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with a small model of each kind."""
    cache = tmp_path_factory.mktemp("kinds")
    (cache / "models").mkdir()
    torch.manual_seed(9)
    for preset, name in TINY.items():
        kind = architecture(name)
        path = cache / "models" / f"{preset}.safetensors"
        save_codec(path, preset, kind(kind.presets[preset]), {"licence": "CC0-1.0"})
    return cache


@pytest.fixture(autouse=True)
def _cache(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NCODEC_CACHE", str(models))


def test_each_architecture_has_a_small_model() -> None:
    assert set(TINY.values()) == set(names())


@pytest.mark.parametrize("model", TINY)
@pytest.mark.parametrize("entropy", ["adaptive", "packed"])
def test_encode_inspect_verify_decode(run: Run, model: str, entropy: str) -> None:
    make_audio("song.flac", 30001, rate=11025, n_channels=2)
    ran = run("encode", "-m", model, "--entropy", entropy, "song.flac")
    assert ran.code == 0, ran.err
    found = json.loads(run("inspect", "--json", "song.ncx").raw)
    assert (found["model"]["id"], found["model"]["architecture"]) == (model, TINY[model])
    assert found["model"]["state"] == "installed"
    assert found["integrity"]["digest"] == "ok"
    verified = run("verify", "song.ncx")
    assert (verified.code, verified.raw) == (0, b"song.ncx: ok (1 packet, 0:02.7)\n")
    ran = run("decode", "song.ncx")
    assert ran.code == 0, ran.err
    wav, rate = soundfile.read("song.wav")
    assert (wav.shape, rate) == ((30001, 2), 11025)


@pytest.mark.parametrize("model", TINY)
def test_long_files_are_the_same_in_many_packets(run: Run, model: str) -> None:
    make_audio("song.wav", 8000 * 25, rate=8000, n_channels=2)
    assert run("encode", "-q", "-m", model, "song.wav").code == 0
    assert run("verify", "song.ncx").raw == b"song.ncx: ok (3 packets, 0:25.0)\n"
    assert run("decode", "-q", "song.ncx", "-o", "back.wav").code == 0
    assert soundfile.info("back.wav").frames == 8000 * 25


@pytest.mark.parametrize("model", TINY)
def test_pipes(run: Run, model: str) -> None:
    make_audio("song.wav", 9000, rate=8000, n_channels=2)
    coded = run("encode", "-m", model, "-", "-o", "-", stdin=Path("song.wav").read_bytes())
    assert coded.code == 0, coded.err
    back = run("decode", "-", "-o", "-", stdin=coded.raw)
    assert back.code == 0, back.err
    wav, rate = soundfile.read(io.BytesIO(back.raw))
    assert (len(wav), rate) == (9000, 8000)


def test_a_single_channel_through_a_stereo_codec(run: Run) -> None:
    make_audio("mono.wav", 9000, rate=8000)
    ran = run("encode", "-m", "encodec-tiny-stereo", "mono.wav")
    assert ran.code == 0, ran.err
    assert run("decode", "-q", "mono.ncx", "-o", "back.wav").code == 0
    info = soundfile.info("back.wav")
    assert (info.channels, info.frames) == (1, 9000)
    data, rate = soundfile.read("mono.wav")
    soundfile.write("both.wav", np.stack([data, data], 1), rate)
    assert run("encode", "-q", "-m", "encodec-tiny-stereo", "both.wav").code == 0
    assert run("decode", "-q", "both.ncx", "-o", "two.wav").code == 0
    both, _ = soundfile.read("two.wav")
    one, _ = soundfile.read("back.wav")
    np.testing.assert_allclose(one, both.mean(1), atol=2 / 32768)


def test_three_channels_do_not_fit_a_stereo_codec(run: Run) -> None:
    make_audio("three.wav", 900, rate=8000, n_channels=3)
    ran = run("encode", "-m", "encodec-tiny-stereo", "three.wav")
    assert ran.code == 1
    assert ran.err == (
        "ncodec: error: three.wav: 3 channels; model 'encodec-tiny-stereo' codes 2 at a time\n"
    )
    assert not Path("three.ncx").exists()
