"""`ncodec repack`, and .ecdc files in the other commands."""

import os
import re
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from ran import Run
from tones import make_audio

from ncodec.codec import read_codes
from ncodec.formats.ecdc import ByteReader, EcdcHeader
from ncodec.formats.ncx import Reader, read_index
from ncodec.hub.codecs import save_codec
from ncodec.models.encodec import PRESETS, Encodec

MakeNcx = Callable[..., Path]


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
        return EcdcHeader.parse(ByteReader(stream, path))


def digest_of(path: str) -> str:
    with Path(path).open("rb") as stream:
        return read_index(stream).codes_digest.hex()


def heard(run: Run, name: str, *options: str) -> np.ndarray:
    """What a file decodes to."""
    ran = run("decode", "-q", "-f", "--subtype", "FLOAT", name, "-o", "heard.wav", *options)
    assert ran.code == 0, ran.err
    return soundfile.read("heard.wav", dtype="float32", always_2d=True)[0]


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
    said = f"the same codes, digest {digest_of('song.ncx')}, checked against the trailer"
    assert (ran.code, ran.err) == (0, f"song.ncx -> again.ecdc: {said}\n")
    assert Path("again.ecdc").read_bytes() == Path("song.ecdc").read_bytes()
    for name in ("song.ncx", "song.ecdc"):
        assert run("decode", "-q", name, "-o", f"{name}.wav").code == 0
    assert Path("song.ncx.wav").read_bytes() == Path("song.ecdc.wav").read_bytes()


def test_another_entropy_coder(run: Run) -> None:
    make_audio("song.wav", 9000, title="Hum")
    assert run("encode", "-q", "-m", "encodec", "song.wav").code == 0
    ran = run("repack", "--entropy", "packed", "song.ncx", "-o", "plain.ncx")
    said = f"the same codes, digest {digest_of('song.ncx')}, checked against the trailer"
    assert (ran.code, ran.err) == (0, f"song.ncx -> plain.ncx: {said}\n")
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
         "--entropy lm: for .ncx files it is one of transformer, mixed, adaptive, packed"),
        (["repack", "--entropy", "adaptive", "--to", "ecdc", "song.ncx"],
         "--entropy adaptive: for .ecdc files it is one of packed, lm"),
        (["repack", "--to", "ncx", "song.ncx", "-o", "song.ecdc"],
         "--to ncx and -o song.ecdc contradict each other"),
        (["repack", "--to", "ecdc", "--start", "1", "song.ncx"],
         "--start, --end and --join: an .ecdc file cannot be cut or joined"),
        (["repack", "--join", "one.ncx", "two.ncx", "-o", "all.ecdc"],
         "--start, --end and --join: an .ecdc file cannot be cut or joined"),
        (["repack", "-b", "3", "--n-q", "2", "song.ncx"], "-b and --n-q exclude each other"),
        (["repack", "--join", "one.ncx", "two.ncx"], "--join: -o names the file that is made"),
        (["repack", "--join", "one.ncx", "two.ncx", "-o", "new/"],
         "--join: new/ is a folder, -o must name a file"),
        (["repack", "--join", "-", "-", "-o", "x.ncx"], "standard input can be given once only"),
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


# Fewer codebooks, cuts and joins: of the tiny model, which is fast.


@pytest.fixture
def tiny(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NCODEC_CACHE", str(cache))


@pytest.mark.usefixtures("tiny")
def test_fewer_codebooks(run: Run, make_ncx: MakeNcx) -> None:
    make_ncx(n_samples=90_000)
    codes = read_codes("song.ncx")
    for options in (["-b", "0.8"], ["--n-q", "2"]):
        ran = run("repack", "-f", *options, "song.ncx", "-o", "few.ncx")
        assert ran.code == 0, ran.err
        assert ran.err == ("song.ncx -> few.ncx: 1126 of 1126 frames, 2 of 4 codebooks, 0:11.2\n")
        assert (read_codes("few.ncx") == codes[:, :2]).all()
        assert run("verify", "few.ncx").code == 0
    ran = run("repack", "--n-q", "5", "song.ncx", "-o", "x.ncx")
    assert (ran.code, Path("x.ncx").exists()) == (2, False)
    ran = run("repack", "--n-q", "3", "few.ncx", "-o", "x.ncx")
    assert (ran.code, ran.err) == (
        2, "ncodec: error: few.ncx: has 2 codebooks, 3 cannot be kept\n"
    )  # fmt: skip


@pytest.mark.usefixtures("tiny")
def test_a_cut(run: Run, make_ncx: MakeNcx) -> None:
    make_ncx(n_samples=100_000, n_channels=2, title="Hum")
    ran = run("repack", "--start", "0:05", "--end", "6.5", "song.ncx", "-o", "part.ncx")
    assert ran.code == 0, ran.err
    assert re.fullmatch(
        r"song.ncx -> part.ncx: 1\d\d of 1251 frames, 4 of 4 codebooks, 0:01.5\n", ran.err
    )
    whole = heard(run, "song.ncx", "--start", "5", "--end", "6.5")
    np.testing.assert_allclose(heard(run, "part.ncx"), whole, atol=1e-4)
    assert run("verify", "part.ncx").out == "part.ncx: ok (1 packet, 0:01.5)\n"
    with Path("part.ncx").open("rb") as stream:
        assert Reader(stream).header.tags == (("TITLE", "Hum"),)
    ran = run("repack", "--start", "20", "song.ncx", "-o", "x.ncx")
    assert (ran.code, ran.err) == (
        2, "ncodec: error: song.ncx: ends at 12.5 s, before 20 s\n"
    )  # fmt: skip
    assert run("repack", "--start", "x", "song.ncx", "-o", "x.ncx").code == 2


@pytest.mark.usefixtures("tiny")
def test_cuts_of_several_files(run: Run, make_ncx: MakeNcx) -> None:
    for name in ("one.ncx", "two.ncx"):
        make_ncx(name)
    ran = run("repack", "--end", "0.2", "one.ncx", "two.ncx", "-o", "short/")
    assert ran.code == 0, ran.err
    assert len(heard(run, "short/two.ncx")) == 1600


@pytest.mark.usefixtures("tiny")
def test_a_join(run: Run, make_ncx: MakeNcx) -> None:
    make_ncx("one.ncx", n_samples=9000, rate=11025, title="One")
    make_ncx("two.ncx", n_samples=5000, rate=11025)
    ran = run("repack", "--join", "one.ncx", "two.ncx", "-o", "all.ncx")
    said = f"the same codes, digest {digest_of('all.ncx')}, checked against the trailers"
    assert (ran.code, ran.err) == (0, f"2 inputs -> all.ncx: {said}\n")
    both = np.concatenate([heard(run, "one.ncx"), heard(run, "two.ncx")])
    assert (heard(run, "all.ncx") == both).all()
    assert run("verify", "all.ncx").code == 0
    ran = run("repack", "--join", "one.ncx", "all.ncx", "-o", "-", "--start", "1", "-q")
    assert (ran.code, ran.err) == (0, "")
    Path("rest.ncx").write_bytes(ran.raw)
    assert len(heard(run, "rest.ncx")) == 9000 + 14000 - 11025


@pytest.mark.usefixtures("tiny")
def test_a_join_keeps_its_inputs(run: Run, make_ncx: MakeNcx) -> None:
    make_ncx("one.ncx")
    make_ncx("two.ncx", rate=11025)
    before = Path("one.ncx").read_bytes()
    ran = run("repack", "--join", "-f", "two.ncx", "one.ncx", "-o", "one.ncx")
    assert ran.code == 1
    assert ran.err == "ncodec: error: one.ncx: input and output are the same file\n"
    Path("there.ncx").touch()
    ran = run("repack", "--join", "one.ncx", "one.ncx", "-o", "there.ncx")
    assert ran.err == "ncodec: error: there.ncx: exists already; -f replaces it\n"
    ran = run("repack", "--join", "one.ncx", "none.ncx", "gone.ncx", "-o", "x.ncx")
    assert ran.err.splitlines() == [
        "ncodec: error: none.ncx: no such file", "ncodec: error: gone.ncx: no such file"
    ]  # fmt: skip
    ran = run("repack", "--join", "one.ncx", "two.ncx", "-o", "x.ncx")
    assert (ran.code, ran.err) == (
        2,
        "ncodec: error: one.ncx and two.ncx cannot be joined: their sample rates are 8000 and "
        "11025\n",
    )
    assert not Path("x.ncx").exists()
    assert Path("one.ncx").read_bytes() == before


@pytest.mark.usefixtures("tiny")
def test_cuts_and_joins_of_pipes(run: Run, make_ncx: MakeNcx) -> None:
    make_ncx("one.ncx", n_samples=20_000)
    blob = Path("one.ncx").read_bytes()
    assert run("repack", "-q", "--start", "1", "one.ncx", "-o", "part.ncx").code == 0
    wanted = Path("part.ncx").read_bytes()
    ran = run("repack", "--start", "1", "-", "-o", "-", stdin=blob)
    assert (ran.code, ran.raw) == (0, wanted)
    assert run("repack", "--join", "-q", "part.ncx", "one.ncx", "-o", "all.ncx").code == 0
    ran = run("repack", "--join", "part.ncx", "-", "-o", "-", stdin=blob)
    assert ran.raw == Path("all.ncx").read_bytes()
    os.mkfifo("pipe")
    writer = threading.Thread(target=lambda: Path("pipe").write_bytes(blob))
    writer.start()
    ran = run("repack", "--join", "part.ncx", "pipe", "-o", "again.ncx")
    writer.join()
    assert ran.code == 0, ran.err
    assert Path("again.ncx").read_bytes() == Path("all.ncx").read_bytes()


def test_codebooks_of_ecdc_files(run: Run) -> None:
    make_audio("song.wav", 9000, rate=24000)
    options = ("--effort", "1", "-q", "song.wav", "-o")
    assert run("encode", "-b", "6", *options, "song.ecdc").code == 0
    assert run("encode", "-b", "3", *options, "three.ecdc").code == 0
    assert run("encode", "-m", "encodec", "-b", "6", *options, "song.ncx").code == 0
    for source in ("song.ecdc", "song.ncx"):
        ran = run("repack", "-f", "-b", "3", "--to", "ecdc", source, "-o", "few.ecdc")
        assert (ran.code, ran.err) == (
            0, f"{source} -> few.ecdc: 29 of 29 frames, 4 of 8 codebooks, 0:00.4\n"
        )  # fmt: skip
        assert Path("few.ecdc").read_bytes() == Path("three.ecdc").read_bytes()
    assert run("repack", "-q", "-b", "3", "song.ecdc", "-o", "few.ncx").code == 0
    assert (read_codes("few.ncx") == read_codes("song.ncx")[:, :4]).all()


def test_cuts_and_joins_of_ecdc_files(run: Run) -> None:
    make_audio("song.wav", 120_000, 2, rate=48000)
    assert run("encode", "-q", "-m", "encodec_48khz", "song.wav", "-o", "song.ecdc").code == 0
    assert run("repack", "-q", "song.ecdc", "-o", "song.ncx").code == 0
    whole = heard(run, "song.ecdc")
    assert run("repack", "-q", "--start", "1.2", "song.ecdc", "-o", "part.ncx").code == 0
    np.testing.assert_allclose(heard(run, "part.ncx"), whole[57_600:], atol=1e-4)
    ran = run("repack", "--join", "song.ecdc", "part.ncx", "-o", "all.ncx")
    assert ran.code == 0, ran.err
    np.testing.assert_allclose(
        heard(run, "all.ncx"), np.concatenate([whole, whole[57_600:]]), atol=1e-4
    )
    ran = run("repack", "part.ncx", "-o", "part.ecdc")
    assert (ran.code, ran.err) == (
        2,
        "ncodec: error: part.ncx: was cut or joined; an .ecdc file holds what was encoded, all of "
        "it\n",
    )
    assert not Path("part.ecdc").exists()


@pytest.mark.usefixtures("tiny")
def test_live_streams(run: Run, encode: Run) -> None:
    make_audio("song.wav", 30_000)
    live = encode("--live", "-", "-o", "-", stdin=Path("song.wav").read_bytes())
    assert live.code == 0, live.err
    Path("live.ncx").write_bytes(live.raw)
    again = run("repack", "--entropy", "packed", "-", "-o", "-", stdin=live.raw)
    assert again.code == 0
    with Path("live.ncx").open("rb") as stream:
        assert Reader(stream).header.n_samples is None
    ran = run("repack", "--start", "1.5", "--end", "2", "-", "-o", "part.ncx", stdin=live.raw)
    assert ran.code == 0, ran.err
    found = heard(run, "part.ncx")
    np.testing.assert_allclose(found, heard(run, "live.ncx")[12_000:16_000], atol=1e-4)
