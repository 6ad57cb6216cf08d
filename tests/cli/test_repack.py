"""`ncodec repack`, and .ecdc files in the other commands."""

import os
import threading
from pathlib import Path

import pytest
import soundfile
import torch
from ran import Run
from tones import make_audio

from ncodec.codec import read_codes
from ncodec.formats.ecdc import EcdcHeader, Source
from ncodec.formats.ncx import Reader
from ncodec.models.encodec import PRESETS, Encodec
from ncodec.weights import save_codec


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with both of EnCodec's models, at full size, of random weights."""
    cache = tmp_path_factory.mktemp("encodec")
    (cache / "models").mkdir()
    torch.manual_seed(1)
    for name in ("encodec_24khz", "encodec_48khz"):
        save_codec(cache / "models" / f"{name}.safetensors", name, Encodec(PRESETS[name]), {})
    return cache


@pytest.fixture(autouse=True)
def _cache(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NCODEC_CACHE", str(models))


def ecdc_header(path: str) -> EcdcHeader:
    with Path(path).open("rb") as stream:
        return EcdcHeader.parse(Source(stream, path))


def test_audio_to_ecdc_and_back(run: Run) -> None:
    make_audio("song.wav", 12001, rate=24000)
    ran = run("encode", "-b", "3", "song.wav", "-o", "song.ecdc")
    assert ran.code == 0, ran.err
    assert ran.err.startswith("song.wav -> song.ecdc: 0:00.5, ")
    header = ecdc_header("song.ecdc")
    assert (header.model, header.n_samples, header.n_codebooks) == ("encodec_24khz", 12001, 4)
    assert not header.lm
    Path("song.wav").unlink()
    assert run("decode", "song.ecdc").code == 0
    assert soundfile.info("song.wav").frames == 12001


def test_there_and_back_again(run: Run) -> None:
    make_audio("song.wav", 60000, 2, rate=48000)
    assert run("encode", "-q", "-m", "encodec_48khz", "--to", "ecdc", "song.wav").code == 0
    ran = run("repack", "song.ecdc")
    assert (ran.code, ran.err) == (0, "song.ecdc -> song.ncx: the same codes\n")
    assert run("verify", "song.ncx").code == 0
    ran = run("repack", "song.ncx", "-o", "again.ecdc")
    assert (ran.code, ran.err) == (0, "song.ncx -> again.ecdc: the same codes\n")
    assert Path("again.ecdc").read_bytes() == Path("song.ecdc").read_bytes()
    for name in ("song.ncx", "song.ecdc"):
        assert run("decode", "-q", name, "-o", f"{name}.wav").code == 0
    assert Path("song.ncx.wav").read_bytes() == Path("song.ecdc.wav").read_bytes()


def test_another_entropy_coder(run: Run) -> None:
    make_audio("song.wav", 9000, title="Hum")
    assert run("encode", "-q", "-m", "encodec", "song.wav").code == 0
    assert run("repack", "--entropy", "packed", "song.ncx", "-o", "plain.ncx").code == 0
    assert (read_codes("song.ncx") == read_codes("plain.ncx")).all()
    with Path("plain.ncx").open("rb") as stream:
        header = Reader(stream).header
    assert (header.entropy, header.tags) == (0, (("TITLE", "Hum"),))


def test_what_is_left_out_is_said(run: Run) -> None:
    make_audio("song.flac", 9000, 2, rate=44100, title="Hum")
    ran = run("encode", "song.flac", "-o", "song.ecdc")
    assert ran.code == 0
    assert (
        "ncodec: warning: song.ecdc: without tags (TITLE), its 2 channels, which are mixed to one, "
        "the source's sample rate 44100 Hz\n"
    ) in ran.err
    assert run("encode", "-q", "-m", "encodec_48khz", "song.flac").code == 0
    ran = run("repack", "song.ncx", "-o", "song48.ecdc")
    assert ran.err.startswith(
        "ncodec: warning: song48.ecdc: without tags, the source's sample rate 44100 Hz\n"
    )


def test_pipes(run: Run) -> None:
    make_audio("song.wav", 9000, rate=24000)
    audio = Path("song.wav").read_bytes()
    coded = run("encode", "--to", "ecdc", "-", "-o", "-", stdin=audio)
    assert coded.code == 0, coded.err
    ncx = run("repack", "-", "-o", "-", stdin=coded.raw)
    assert ncx.code == 0, ncx.err
    assert run("repack", "--to", "ecdc", "-", "-o", "-", stdin=ncx.raw).raw == coded.raw
    assert run("decode", "-", "-o", "-", stdin=coded.raw).raw == (
        run("decode", "-", "-o", "-", stdin=ncx.raw).raw
    )


def test_a_pipe_that_gives_little_at_a_time(run: Run) -> None:
    make_audio("song.wav", 9000, rate=24000)
    assert run("encode", "-q", "song.wav", "-o", "song.ecdc").code == 0
    os.mkfifo("pipe")

    def feed() -> None:
        blob = Path("song.ecdc").read_bytes()
        with Path("pipe").open("wb", buffering=0) as pipe:
            for start in range(0, len(blob), 3):
                pipe.write(blob[start : start + 3])

    writer = threading.Thread(target=feed)
    writer.start()
    ran = run("repack", "pipe", "-o", "song.ncx")
    writer.join()
    assert (ran.code, ran.err) == (0, "pipe -> song.ncx: the same codes\n")
    assert run("repack", "-q", "song.ncx", "-o", "again.ecdc").code == 0
    assert Path("again.ecdc").read_bytes() == Path("song.ecdc").read_bytes()


def test_a_folder_s_name_does_not_choose_the_format(run: Run) -> None:
    make_audio("song.wav", 9000, rate=24000)
    assert run("encode", "-q", "-m", "encodec", "song.wav", "-o", "new.ecdc/").code == 0
    assert Path("new.ecdc/song.ncx").exists()


def test_a_missing_model_is_named_with_the_file(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    make_audio("song.wav", 9000, rate=24000)
    assert run("encode", "-q", "song.wav", "-o", "song.ecdc").code == 0
    assert run("encode", "-q", "-m", "encodec", "song.wav").code == 0
    monkeypatch.setenv("NCODEC_CACHE", str(tmp_path))
    hint = "`ncodec models pull encodec_24khz` installs it\n"
    for args in (["decode", "song.ecdc", "-o", "x.wav"], ["repack", "song.ncx", "-o", "x.ecdc"]):
        ran = run(*args)
        assert ran.code == 1
        assert ran.err.startswith(f"ncodec: error: {args[1]}: made with ")
        assert ran.err.endswith(hint)
    assert run("encode", "-m", "encodec_24khz", "song.wav", "-o", "x.ncx").err.endswith(hint)
    ran = run("encode", "-m", "hilcodec_music", "song.wav", "-o", "x.ncx")
    assert "`ncodec models import FILE --as hilcodec_music` installs it; https://" in ran.err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["encode", "--entropy", "lm", "song.wav"],
         "--entropy lm: for .ncx files it is one of transformer, adaptive, packed"),
        (["repack", "--entropy", "adaptive", "--to", "ecdc", "song.ncx"],
         "--entropy adaptive: for .ecdc files it is one of packed, lm"),
        (["repack", "--to", "ncx", "song.ncx", "-o", "song.ecdc"],
         "--to ncx and -o song.ecdc contradict each other"),
    ],
)  # fmt: skip
def test_bad_command_lines(run: Run, args: list[str], said: str) -> None:
    ran = run(*args)
    assert (ran.code, ran.err) == (2, f"ncodec: error: {said}\n")


def test_what_cannot_be_done_is_one_line(run: Run) -> None:
    make_audio("song.wav", 9000, 2)
    assert run("encode", "-q", "-m", "encodec", "song.wav").code == 0
    ran = run("repack", "song.ncx", "-o", "song.ecdc")
    assert (ran.code, ran.err) == (
        2, "ncodec: error: song.ncx: 2 streams; an .ecdc file holds one\n"
    )  # fmt: skip
    assert not Path("song.ecdc").exists()
    Path("cut.ecdc").write_bytes(b"ECDC\0\0\0\0\x02{}")
    ran = run("decode", "cut.ecdc")
    assert ran.code == 1
    assert ran.err.startswith("ncodec: error: cut.ecdc: ")
    assert ran.err.count("\n") == 1
    make_audio("mono.wav", 9000)
    ran = run("encode", "--entropy", "lm", "mono.wav", "-o", "mono.ecdc")
    assert ran.code == 1
    assert "`ncodec models pull encodec_24khz_lm` fetches it" in ran.err


def test_other_commands_say_what_it_is(run: Run) -> None:
    make_audio("song.wav", 9000)
    assert run("encode", "-q", "song.wav", "-o", "song.ecdc").code == 0
    said = "song.ecdc: is an .ecdc file; ncodec repack makes an .ncx file of it"
    assert said in run("inspect", "song.ecdc").err
    assert "is an .ecdc file, not audio" in run("encode", "song.ecdc", "-o", "x.ncx").err
