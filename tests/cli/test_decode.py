"""`ncodec decode`."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from ran import Run
from tones import make_audio, tone

from ncodec.audio import AudioSink
from ncodec.formats.audio_files import WRITABLE
from ncodec.hub.codecs import save_codec
from ncodec.models.spectral import SpectralCodec
from ncodec.models.spectral_base import PRESETS

MakeNcx = Callable[..., Path]


def names() -> list[str]:
    return sorted(path.name for path in Path().iterdir())


def test_output_is_wav_beside_the_input(make_ncx: MakeNcx, run: Run) -> None:
    Path("music").mkdir()
    make_ncx("music/song.ncx", rate=44100, n_samples=5001, n_channels=2)
    ran = run("decode", "music/song.ncx")
    assert (ran.code, ran.raw) == (0, b"")
    assert re.fullmatch(
        r"(.*clipped.*\n)?music/song.ncx -> music/song.wav: 0:00.1, [\d.e+]+x real time\n", ran.err
    )
    info = soundfile.info("music/song.wav")
    assert (info.frames, info.samplerate, info.channels) == (5001, 44100, 2)
    assert (info.format, info.subtype) == ("WAV", "PCM_16")


@pytest.mark.parametrize(
    ("name", "container", "subtype"),
    [
        ("song.flac", "FLAC", "PCM_16"),
        ("song.ogg", "OGG", "VORBIS"),
        ("song.mp3", "MP3", "MPEG_LAYER_III"),
        ("song.aiff", "AIFF", "PCM_16"),
        ("song", "WAV", "PCM_16"),
    ],
)
def test_suffix_chooses_the_format(
    make_ncx: MakeNcx, run: Run, name: str, container: str, subtype: str
) -> None:
    make_ncx()
    assert run("decode", "song.ncx", "-o", name).code == 0
    info = soundfile.info(name)
    assert (info.format, info.subtype, info.frames) == (container, subtype, 4000)


def test_format_names_the_output_and_wins_over_its_suffix(make_ncx: MakeNcx, run: Run) -> None:
    make_ncx()
    assert run("decode", "song.ncx", "--format", "flac").code == 0
    assert soundfile.info("song.flac").format == "FLAC"
    assert run("decode", "song.ncx", "--format", "flac", "-o", "song.bin").code == 0
    assert soundfile.info("song.bin").format == "FLAC"


@pytest.mark.parametrize("container", WRITABLE)
def test_every_format_that_is_offered_can_be_written(container: str) -> None:
    AudioSink("song.out", 8000, 1, container=container).__exit__(ValueError, None, None)


def test_subtype(make_ncx: MakeNcx, run: Run) -> None:
    make_ncx()
    assert run("decode", "song.ncx", "--subtype", "PCM_24").code == 0
    assert soundfile.info("song.wav").subtype == "PCM_24"


def test_codec_rate(make_ncx: MakeNcx, run: Run) -> None:
    make_ncx(rate=44100, n_samples=44100)
    assert run("decode", "song.ncx", "--codec-rate").code == 0
    info = soundfile.info("song.wav")
    assert (info.samplerate, info.frames) == (8000, 8000)


def test_another_rate_for_formats_that_lack_the_sources(make_ncx: MakeNcx, run: Run) -> None:
    make_ncx(rate=44100, n_samples=44100)
    ran = run("decode", "song.ncx", "-o", "song.opus")
    assert ran.code == 1
    assert (
        "song.opus: opus has no 44100 Hz; it has 8000, 12000, 16000, 24000, 48000; --rate resamples"
        in ran.err
    )
    assert run("decode", "song.ncx", "-o", "song.opus", "--rate", "48000").code == 0
    assert soundfile.info("song.opus").frames == 48000
    ran = run("decode", "song.ncx", "-o", "song.ogg", "--rate", "384000")
    assert (ran.code, "song.ogg: ogg has no 384000 Hz; it has up to 200000" in ran.err) == (1, True)
    assert names() == ["song.ncx", "song.opus"]
    ran = run("decode", "song.ncx", "--codec-rate", "--rate", "8000", "-o", "x.wav")
    assert (ran.code, ran.err) == (2, "ncodec: error: --codec-rate and --rate exclude each other\n")


def test_tags_come_back(make_ncx: MakeNcx, run: Run) -> None:
    make_ncx(title="Hum", license="CC0")
    ran = run("decode", "song.ncx")
    assert ran.err.endswith("x real time\n")
    assert soundfile.SoundFile("song.wav").title == "Hum"
    assert b"LICENSE" in Path("song.wav").read_bytes()
    ran = run("decode", "song.ncx", "-o", "song.w64")
    assert ran.err.endswith("x real time, without room for the tags TITLE, LICENSE\n")
    run("decode", "song.ncx", "-o", "song.ogg")
    assert soundfile.SoundFile("song.ogg").license == "CC0"


def test_clipping_is_counted(encode: Run, run: Run) -> None:
    soundfile.write("loud.wav", 4 * tone(4000), 8000, "FLOAT")
    encode("loud.wav", "-o", "loud.ncx")
    run("decode", "loud.ncx", "-o", "kept.wav", "--subtype", "FLOAT")
    kept = soundfile.read("kept.wav")[0]
    n_over = int((abs(kept) > 1).sum())
    assert n_over > 0
    ran = run("decode", "-q", "loud.ncx", "-o", "clipped.wav")
    assert ran.code == 0
    said = f"{n_over} of 4000 samples clipped, peak {abs(kept).max():.3f}"
    assert ran.err == f"ncodec: warning: clipped.wav: {said}\n"


def test_stdin_to_stdout_is_a_wav(make_ncx: MakeNcx, run: Run) -> None:
    make_ncx()
    ran = run("decode", "-", stdin=Path("song.ncx").read_bytes())
    assert ran.code == 0
    run("decode", "song.ncx")
    assert ran.raw == Path("song.wav").read_bytes()


def test_format_of_stdout(make_ncx: MakeNcx, run: Run) -> None:
    make_ncx()
    assert run("decode", "song.ncx", "-o", "-", "--format", "flac").raw[:4] == b"fLaC"


def test_existing_output_stays_without_f(make_ncx: MakeNcx, run: Run) -> None:
    make_ncx()
    make_audio("song.wav", 10)
    ran = run("decode", "song.ncx")
    assert (ran.code, ran.err) == (
        1,
        "ncodec: error: song.wav: exists already; -f replaces it\n",
    )
    assert run("decode", "-f", "song.ncx").code == 0
    assert soundfile.info("song.wav").frames == 4000


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-o", "song.xyz"], "song.xyz: no audio format 'xyz'; there are wav, flac, "),
        (["--subtype", "MP3"], "song.wav: WAV has no MP3; it has "),
        (["--format", "zip"], "invalid value for '--format': 'zip' is not one of 'wav', 'flac', "),
    ],
)
def test_bad_command_lines_exit_with_2(
    make_ncx: MakeNcx, run: Run, options: list[str], said: str
) -> None:
    make_ncx()
    ran = run("decode", "song.ncx", *options)
    assert ran.code == 2
    assert re.match(f"ncodec: error: {said}", ran.err)
    assert ran.err.count("\n") == 1
    assert names() == ["song.ncx"]


def damaged(good: bytes) -> dict[str, tuple[bytes, str]]:
    middle = len(good) // 2
    return {
        "empty": (b"", "song.ncx: header at byte 0: signature needs 7 bytes, 0 left"),
        "audio": (
            b"RIFF....WAVE",
            "song.ncx: is audio, not an .ncx file; ncodec encode makes one of it",
        ),
        "text": (
            b"hello, world",
            "song.ncx: header at byte 0: not an .ncx file: starts with 68 65 6c 6c 6f 2c 20",
        ),
        "text mode": (
            good.replace(b"\r\n", b"\n"),
            "song.ncx: header at byte 0: the file went through a text-mode transfer",
        ),
        "version": (
            good[:7] + b"\x20" + good[8:],
            "song.ncx: header at byte 7: version is 32, expected 16 to 31",
        ),
        "truncated": (good[:-20], "song.ncx: packet 0 at byte "),
        "no trailer": (good[:-12], "song.ncx: packet 1 at byte "),
        "flipped": (
            good[:middle] + bytes((good[middle] ^ 1,)) + good[middle + 1 :],
            "song.ncx: packet 0 at byte ",
        ),
    }


@pytest.mark.parametrize("kind", damaged(bytes(100)))
def test_damage_is_one_line_and_leaves_nothing(make_ncx: MakeNcx, run: Run, kind: str) -> None:
    path = make_ncx()
    content, said = damaged(path.read_bytes())[kind]
    path.write_bytes(content)
    ran = run("decode", "song.ncx")
    assert (ran.code, ran.raw) == (1, b"")
    assert re.match(f"ncodec: error: {said}", ran.err)
    assert ran.err.count("\n") == 1
    assert names() == ["song.ncx"]


def test_a_bad_input_does_not_stop_the_others(make_ncx: MakeNcx, run: Run) -> None:
    make_ncx("a.ncx")
    make_ncx("c.ncx")
    Path("b.ncx").write_bytes(Path("a.ncx").read_bytes()[:-30])
    ran = run("decode", "-q", "a.ncx", "b.ncx", "missing.ncx", "c.ncx", "-o", "out/")
    assert ran.code == 1
    assert len(ran.err.splitlines()) == 2
    assert sorted(path.name for path in Path("out").iterdir()) == ["a.wav", "c.wav"]


def test_other_weights_are_refused(
    make_ncx: MakeNcx, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_with = bytes(make_ncx().read_bytes()[15:19]).hex()
    (tmp_path / "models").mkdir()
    torch.manual_seed(6)
    other = SpectralCodec(PRESETS["spectral-tiny"])
    save_codec(tmp_path / "models" / "tiny.safetensors", "tiny", other, {})
    monkeypatch.setenv("NCODEC_CACHE", str(tmp_path))
    ran = run("decode", "song.ncx")
    assert ran.code == 1
    assert re.fullmatch(
        rf"ncodec: error: song.ncx: made with weights {made_with} of model 'tiny': not installed; "
        r"installed: [0-9a-f]{8} \(tiny.safetensors\)\n",
        ran.err,
    )


def test_a_missing_model_is_named(
    make_ncx: MakeNcx, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_ncx()
    monkeypatch.setenv("NCODEC_CACHE", str(tmp_path))
    ran = run("decode", "song.ncx")
    assert ran.code == 1
    said = r"song.ncx: made with weights [0-9a-f]{8} of model 'tiny': not installed; installed: "
    assert re.match(f"ncodec: error: {said}", ran.err)


def test_decoding_is_the_same_every_time(make_ncx: MakeNcx, run: Run) -> None:
    make_ncx(n_channels=2, n_samples=20000)
    first, second = (run("decode", "song.ncx", "-o", "-").raw for _ in range(2))
    assert first == second
    assert len(np.frombuffer(first[44:], "<i2")) == 40000
