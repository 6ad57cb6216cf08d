"""`ncodec encode`."""

import hashlib
import io
import json
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from ran import Run
from tiny_models import save_stereo_model
from tones import make_audio, tone, wav_bytes

import ncodec
from ncodec.formats.ncx import SIGNATURE, Header, Reader
from ncodec.hub.codecs import save_codec
from ncodec.models.soundstream import PRESETS, SoundStream


def header_of(path: str | Path) -> Header:
    with Path(path).open("rb") as stream:
        return Reader(stream).header


def names() -> list[str]:
    return sorted(path.name for path in Path().iterdir())


@pytest.mark.quick
def test_output_stands_beside_the_input(encode: Run) -> None:
    Path("music").mkdir()
    make_audio("music/song.wav")
    assert encode("music/song.wav").code == 0
    assert header_of("music/song.ncx").n_samples == 4000


def test_summary_is_one_line_on_stderr(encode: Run) -> None:
    make_audio("song.wav", 8000)
    ran = encode("song.wav")
    assert (ran.code, ran.raw) == (0, b"")
    n_bytes = Path("song.ncx").stat().st_size
    start = f"song.wav -> song.ncx: 0:01.0, {8 * n_bytes / 1000:.2f} kbps, "
    start += f"{16000 / n_bytes:.1f}:1 to 16-bit PCM, "
    end = r"[\d.e+]+x real time, mixed: tiny has no entropy model\n"
    assert re.fullmatch(re.escape(start) + end, ran.err)


def test_quiet_says_nothing(encode: Run) -> None:
    make_audio("song.wav")
    ran = encode("-q", "song.wav")
    assert (ran.code, ran.raw, ran.err) == (0, b"", "")


@pytest.mark.quick
def test_tags_go_into_the_header(encode: Run) -> None:
    make_audio("song.flac", title="Hum", artist="Ünder")
    encode("song.flac")
    assert header_of("song.ncx").tags == (("TITLE", "Hum"), ("ARTIST", "Ünder"))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("one.wav", {"n_samples": 1}),
        ("none.wav", {"n_samples": 0}),
        ("stereo.wav", {"n_channels": 2}),
        ("five.wav", {"n_channels": 5}),
        ("eight-bit.wav", {"subtype": "PCM_U8"}),
        ("high.wav", {"rate": 96000}),
        ("odd.wav", {"rate": 11025, "n_samples": 3331}),
        ("float.wav", {"subtype": "DOUBLE"}),
        ("song.flac", {"subtype": "PCM_24"}),
        ("song.ogg", {"rate": 44100, "n_samples": 5001}),
        ("song.mp3", {"rate": 44100, "n_samples": 5001}),
        ("song.aiff", {}),
    ],
)
def test_every_kind_of_audio_comes_back_in_length(
    encode: Run, run: Run, name: str, options: dict[str, int]
) -> None:
    source = make_audio(name, **options)
    ran = encode(source, "-o", "coded.ncx")
    assert ran.code == 0, ran.err
    assert run("decode", "-q", "coded.ncx").err == ""
    before, after = soundfile.info(str(source)), soundfile.info("coded.wav")
    assert (after.frames, after.channels) == (before.frames, before.channels)
    assert after.samplerate == before.samplerate


def test_zero_samples_have_a_summary_too(encode: Run) -> None:
    make_audio("none.wav", 0)
    n_bytes = "{} bytes"
    ran = encode("none.wav")
    n_bytes = Path("none.ncx").stat().st_size
    assert ran.err == f"none.wav -> none.ncx: no samples, {n_bytes} bytes\n"


@pytest.mark.parametrize(
    ("options", "n_q"),
    [([], 4), (["-b", "0.8"], 2), (["--bandwidth", "0.4"], 1), (["--n-q", "3"], 3)],
)
def test_bandwidth_chooses_codebooks(encode: Run, options: list[str], n_q: int) -> None:
    make_audio("song.wav")
    assert encode("song.wav", *options).code == 0
    assert header_of("song.ncx").n_codebooks == n_q


@pytest.mark.parametrize(("coder", "number"), [("packed", 0), ("adaptive", 1), ("mixed", 3)])
def test_entropy_coder(encode: Run, coder: str, number: int) -> None:
    make_audio("song.wav")
    encode("song.wav", "--entropy", coder)
    assert header_of("song.ncx").entropy == number


def test_several_inputs_go_into_a_folder(encode: Run) -> None:
    make_audio("a.wav")
    make_audio("b.flac")
    assert encode("a.wav", "b.flac", "-o", "out").code == 0
    assert encode("a.wav", "-o", "other/").code == 0
    assert encode("b.flac", "-o", "other").code == 0
    assert sorted(map(str, Path().glob("o*/*"))) == [
        "other/a.ncx", "other/b.ncx", "out/a.ncx", "out/b.ncx",
    ]  # fmt: skip


def test_a_bad_input_does_not_stop_the_others(encode: Run) -> None:
    make_audio("a.wav")
    make_audio("c.wav")
    Path("b.wav").write_bytes(b"not audio at all")
    ran = encode("-q", "a.wav", "missing.wav", "b.wav", "c.wav")
    assert ran.code == 1
    assert ran.err.splitlines() == [
        "ncodec: error: missing.wav: no such file",
        "ncodec: error: b.wav: not an audio file that libsndfile reads; it is text",
    ]
    assert names() == ["a.ncx", "a.wav", "b.wav", "c.ncx", "c.wav"]


def truncated_wav() -> bytes:
    return wav_bytes()[:-1000]


def nan_wav() -> bytes:
    samples = np.zeros(100, "<f4")
    samples[7] = np.nan
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 3, 1, 8000, 32000, 4, 32)
    body = form + struct.pack("<4sI", b"data", 400) + samples.tobytes()
    return struct.pack("<4sI4s", b"RIFF", 4 + len(body), b"WAVE") + body


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "bad.wav: is empty"),
        (b"hello\n", "bad.wav: not an audio file that libsndfile reads; it is text"),
        (
            truncated_wav(),
            "bad.wav: truncated: the header announces 4000 samples, 3500 are there",
        ),
        (nan_wav(), "bad.wav: sample 7 of channel 1 is nan"),
        (
            SIGNATURE + b"more",
            "bad.wav: is an .ncx file, not audio; ncodec decode makes audio of it",
        ),
    ],
    ids=["empty", "text", "truncated", "nan", "ncx"],
)
def test_bad_audio_is_one_line_and_leaves_nothing(encode: Run, content: bytes, said: str) -> None:
    Path("bad.wav").write_bytes(content)
    ran = encode("bad.wav")
    assert (ran.code, ran.raw, ran.err) == (1, b"", f"ncodec: error: {said}\n")
    assert names() == ["bad.wav"]


def test_a_folder_is_refused(encode: Run) -> None:
    Path("music").mkdir()
    ran = encode("music")
    assert (ran.code, ran.err) == (
        1,
        "ncodec: error: music: is a folder; give the files in it\n",
    )


def test_an_existing_output_stays_without_f(encode: Run) -> None:
    make_audio("song.wav")
    Path("song.ncx").write_bytes(b"precious")
    ran = encode("song.wav")
    assert (ran.code, ran.err) == (
        1,
        "ncodec: error: song.ncx: exists already; -f replaces it\n",
    )
    assert Path("song.ncx").read_bytes() == b"precious"
    assert encode("-f", "song.wav").code == 0
    assert header_of("song.ncx").n_samples == 4000


@pytest.mark.parametrize("output", ["song.x", "./song.x", "link.x"])
def test_the_input_is_never_the_output(encode: Run, output: str) -> None:
    source = make_audio("song.wav").rename("song.x")
    Path("link.x").symlink_to("song.x")
    before = source.read_bytes()
    ran = encode("-f", "song.x", "-o", output)
    why = "not an .ncx file; input and output are the same file"
    assert (ran.code, ran.err) == (1, f"ncodec: error: song.x: {why}\n")
    assert source.read_bytes() == before


def test_several_outputs_need_a_folder(encode: Run) -> None:
    make_audio("song.wav")
    Path("a.txt").touch()
    ran = encode("song.wav", "song.wav", "-o", "a.txt")
    said = "ncodec: error: a.txt: is not a folder, and several outputs need one\n"
    assert (ran.code, ran.err) == (2, said)


@pytest.mark.parametrize("output", ["x.wav", "x.FLAC", "folder/x.m4a"])
def test_no_ncx_file_is_named_as_audio(encode: Run, output: str) -> None:
    make_audio("song.wav")
    ran = encode("song.wav", "-o", output)
    assert ran.code == 2
    assert f"-o {output}: .ncx and .ecdc files are made here, no audio" in ran.err
    assert not Path(output).exists()


def test_two_inputs_never_have_one_output(encode: Run) -> None:
    make_audio("song.wav", 1000)
    make_audio("song.flac", 2000)
    ran = encode("-q", "-f", "song.wav", "song.flac")
    assert (ran.code, ran.err) == (
        1,
        "ncodec: error: song.flac: song.ncx is the output of song.wav already; use -o\n",
    )
    assert header_of("song.ncx").n_samples == 1000


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-b", "6", "--n-q", "2"], "-b and --n-q exclude each other"),
        (
            ["-b", "0.5"],
            "bandwidth 0.5 kbps: expected a multiple of 0.4 kbps from 0.4 to 1.6; the usual ones "
            "are 0.4, 0.8, 1.6",
        ),
        (
            ["-b", "0"],
            "bandwidth 0 kbps: expected a multiple of 0.4 kbps from 0.4 to 1.6; the usual ones "
            "are 0.4, 0.8, 1.6",
        ),
        (["-b", "nan"], "bandwidth nan kbps: expected a number"),
        (["--n-q", "5"], "5 codebooks: model 'tiny' has 1 to 4"),
        (
            ["--effort", "65"],
            "invalid value for '--effort': 65 is not in the range 1<=x<=64; see 'ncodec encode "
            "--help'",
        ),
        (
            ["--effort", "much"],
            "invalid value for '--effort': 'much' is not one of fast, default, best, or a number; "
            "see 'ncodec encode --help'",
        ),
        (
            ["--quality", "11"],
            "invalid value for '--quality': 11.0 is not in the range 0<=x<=10; see 'ncodec encode "
            "--help'",
        ),
        (["--quality", "5", "--to", "ecdc"], "--quality is for .ncx files"),
        (["-o", "there/song.ncx"], "there: no such folder"),
        (["-o", "-", "song.wav"], "standard output takes one input, several are given"),
        (
            ["-"],
            "standard input has no name: give it alone, with a file's name for -o",
        ),
        (
            ["--entropy", "zip"],
            "invalid value for '--entropy': 'zip' is not one of 'transformer', 'mixed', "
            "'adaptive', 'packed', 'lm'; see 'ncodec encode --help'",
        ),
    ],
)
def test_bad_command_lines_exit_with_2(encode: Run, options: list[str], said: str) -> None:
    make_audio("song.wav")
    ran = encode("song.wav", *options)
    assert (ran.code, ran.raw, ran.err) == (2, b"", f"ncodec: error: {said}\n")
    assert names() == ["song.wav"]


@pytest.fixture
def denoiser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A model with random weights that takes noise away, the only one of its cache."""
    torch.manual_seed(4)
    codec = SoundStream(PRESETS["soundstream-tiny"])
    assert codec.encoder_film is not None
    torch.nn.init.normal_(codec.encoder_film.weight)
    (tmp_path / "models").mkdir()
    save_codec(tmp_path / "models" / "ss-tiny.safetensors", "ss-tiny", codec, {})
    monkeypatch.setenv("NCODEC_CACHE", str(tmp_path))
    return "ss-tiny"


def test_noise_is_taken_away_on_request(run: Run, denoiser: str) -> None:
    wav = tone(8000)
    soundfile.write("song.wav", wav, 8000, "FLOAT")
    for name, options in (("plain.ncx", []), ("clean.ncx", ["--denoise"])):
        ran = run("encode", "-m", denoiser, "-o", name, *options, "song.wav")
        assert ran.code == 0, ran.err
    assert header_of("plain.ncx").extensions == ()
    assert header_of("clean.ncx").extensions == ((1, b"\x01"),)
    plain, clean = ncodec.read_codes("plain.ncx"), ncodec.read_codes("clean.ncx")
    assert plain.shape == clean.shape == (1, 4, 100)
    assert (plain != clean).any()
    blob = ncodec.encode(wav.T, 8000, model=denoiser, denoise=True)
    assert blob == Path("clean.ncx").read_bytes()
    assert run("decode", "clean.ncx", "-o", "back.wav").code == 0
    assert json.loads(run("inspect", "--json", "clean.ncx").out)["denoised"] is True
    assert json.loads(run("inspect", "--json", "plain.ncx").out)["denoised"] is False


def test_a_model_that_cannot_take_noise_away_says_so(encode: Run) -> None:
    make_audio("song.wav")
    ran = encode("--denoise", "song.wav")
    assert (ran.code, ran.raw, ran.err) == (
        2, b"", "ncodec: error: denoise: model 'tiny' does not take noise away\n",
    )  # fmt: skip
    assert names() == ["song.wav"]


def test_effort_is_what_the_search_spends(run: Run, encode: Run) -> None:
    soundfile.write("song.wav", tone(8000), 8000, "FLOAT")
    for name, options in (
        ("usual.ncx", []),
        ("4.ncx", ["--effort", "4"]),
        ("1.ncx", ["--effort=1"]),
    ):
        ran = encode("-o", name, *options, "song.wav")
        assert ran.code == 0, ran.err
    assert Path("usual.ncx").read_bytes() == Path("4.ncx").read_bytes()
    nearest, searched = ncodec.read_codes("1.ncx"), ncodec.read_codes("4.ncx")
    assert nearest.shape == searched.shape
    assert (nearest != searched).any()
    wav, rate = soundfile.read("song.wav", dtype="float32")
    assert ncodec.encode(wav.T, rate, model="tiny", effort=1) == Path("1.ncx").read_bytes()
    assert run("decode", "1.ncx", "4.ncx").code == 0


def test_levels_of_effort_and_qualities(run: Run) -> None:
    soundfile.write("song.wav", tone(30_000), 8000, "FLOAT")
    wav, rate = soundfile.read("song.wav", dtype="float32")
    blobs = []
    for name, options, same in (
        ("usual.ncx", (), {}),
        ("fast.ncx", ("--effort", "fast"), {"effort": "fast"}),
        ("default.ncx", ("--effort", "default"), {"effort": None}),
        ("best.ncx", ("--effort", "best"), {"effort": "best"}),
        ("low.ncx", ("--quality", "5"), {"quality": 5}),
        ("four.ncx", ("--quality", "2.5", "--n-q", "4"), {"quality": 2.5, "n_q": 4}),
    ):
        ran = run("encode", "-m", "modelled", "-o", name, *options, "song.wav")
        assert (ran.code, ran.out) == (0, ""), ran.err
        assert run("decode", name).code == 0
        blobs.append(Path(name).read_bytes())
        assert blobs[-1] == ncodec.encode(wav.T, rate, model="modelled", **same)  # type: ignore[arg-type]
    assert blobs[0] == blobs[2]
    assert len(set(blobs)) == 5
    assert header_of("low.ncx").n_codebooks == 1
    assert header_of("four.ncx").n_codebooks == 4


def test_a_missing_model_is_named_with_those_there_are(run: Run) -> None:
    make_audio("song.wav")
    ran = run("encode", "-m", "nosuch", "song.wav")
    assert ran.code == 1
    assert ran.err.startswith("ncodec: error: model 'nosuch': not installed; installed: ")
    assert "tiny" in ran.err


def test_a_missing_entropy_model_is_named(encode: Run, cache: Path) -> None:
    make_audio("song.wav")
    make_audio("tune.wav")
    ran = encode("--entropy", "transformer", "song.wav", "tune.wav")
    tiny = hashlib.sha256((cache / "models" / "tiny.safetensors").read_bytes()).hexdigest()[:8]
    assert (ran.code, ran.err) == (
        1,
        "ncodec: error: entropy coder 'transformer': no entropy model for 4 codebooks of weights "
        f"{tiny} of model 'tiny' is installed; `ncodec train-entropy` makes one\n",
    )
    assert not list(Path().glob("*.ncx"))


def test_one_broken_model_does_not_hide_the_others(encode: Run, cache: Path) -> None:
    broken = cache / "models" / "broken.safetensors"
    broken.write_bytes(b"\x01\0\0\0\0\0\0\0[")
    make_audio("song.wav")
    try:
        assert encode("song.wav").code == 0
    finally:
        broken.unlink()


def test_stdin_to_stdout(encode: Run) -> None:
    ran = encode("-", stdin=wav_bytes(1234))
    assert ran.code == 0
    assert ran.err.startswith("standard input -> standard output: 0:00.2, ")
    Path("song.ncx").write_bytes(ran.raw)
    assert header_of("song.ncx").n_samples == 1234


def test_stdout_has_the_bytes_of_the_file(encode: Run) -> None:
    Path("song.wav").write_bytes(wav_bytes())
    encode("song.wav")
    assert encode("song.wav", "-o", "-").raw == Path("song.ncx").read_bytes()


def test_a_wav_of_unknown_length_gets_it_in_the_header(encode: Run, run: Run) -> None:
    endless = bytearray(wav_bytes(4000))
    endless[4:8] = endless[40:44] = b"\xff\xff\xff\xff"
    Path("song.ncx").write_bytes(encode("-", stdin=bytes(endless)).raw)
    assert header_of("song.ncx").n_samples == 4000  # a pipe would have it in the trailer
    run("decode", "song.ncx")
    assert soundfile.info("song.wav").frames == 4000


def test_codes_do_not_depend_on_company(encode: Run) -> None:
    for number in range(3):
        make_audio(f"{number}.wav", 3000 + number, 1 + number)
    encode("0.wav", "1.wav", "2.wav", "-o", "together/")
    for number in range(3):
        encode(f"{number}.wav")
        alone = Path(f"{number}.ncx").read_bytes()
        assert alone == Path(f"together/{number}.ncx").read_bytes()


def test_loud_and_silent_audio_are_coded(encode: Run, run: Run) -> None:
    soundfile.write("loud.wav", 3 * tone(2000), 8000, "FLOAT")
    soundfile.write("silent.wav", np.zeros(2000), 8000)
    assert encode("loud.wav", "silent.wav").code == 0
    assert run("decode", "silent.ncx", "-o", "back.wav").code == 0
    assert not soundfile.read("back.wav")[0].any()


def told(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_json_tells_of_each_file(encode: Run) -> None:
    make_audio("a.wav", n_channels=2)
    left = make_audio("b.wav").read_bytes()
    samples, rate = soundfile.read(io.BytesIO(left))
    soundfile.write("b.wav", np.stack([samples, samples], axis=1), rate)
    ran = encode("a.wav", "gone.wav", "b.wav", "--json")
    assert ran.code == 1
    assert "b.wav -> b.ncx: " in ran.err
    assert ", 2 equal channels as one" in ran.err.splitlines()[-1]
    one, two = told(ran.out)
    assert one | two == two
    assert (one["source"], one["target"], one["n_coded_channels"]) == ("a.wav", "a.ncx", 2)
    assert (two["source"], two["n_channels"], two["n_coded_channels"]) == ("b.wav", 2, 1)
    assert (two["model"], two["model_reason"]) == ("tiny", "named")
    assert two["n_bytes"] == Path("b.ncx").stat().st_size
    text = (Path(__file__).parents[2] / "docs" / "CLI.md").read_text()
    section = text.split("## JSON of encode, schema ncodec.encode/1\n")[1].split("\n## ")[0]
    assert re.findall(r"^\| `([^`]*)`", section, flags=re.M) == list(one)


def test_json_and_a_file_do_not_share_standard_output(encode: Run) -> None:
    make_audio("a.wav")
    ran = encode("a.wav", "-o", "-", "--json")
    assert (ran.code, ran.raw) == (2, b"")
    assert "--json: standard output is for the file" in ran.err


def test_equal_channels_of_files_are_coded_as_one(encode: Run, run: Run) -> None:
    samples, rate = soundfile.read(make_audio("mono.flac"))
    soundfile.write("dual.flac", np.stack([samples, samples], axis=1), rate)
    content = Path("dual.flac").read_bytes()
    assert encode("mono.flac", "dual.flac").code == 0
    assert encode("-", "-o", "pipe.ncx", stdin=content).code == 0
    facts = {
        name: json.loads(run("inspect", "--json", f"{name}.ncx").out)
        for name in ("mono", "dual", "pipe")
    }
    assert [facts[name]["audio"]["n_channels"] for name in facts] == [1, 2, 2]
    assert [facts[name]["codes"]["n_channels"] for name in facts] == [1, 1, 2]
    text = run("inspect", "dual.ncx").out
    assert ", stereo, " in text.splitlines()[0]
    assert "channels      2 equal ones, coded as one" in text
    assert run("decode", "dual.ncx", "-o", "back.wav").code == 0
    back, _ = soundfile.read("back.wav", always_2d=True)
    assert back.shape == (len(samples), 2)
    assert (back[:, 0] == back[:, 1]).all()
    ran = run("repack", "--join", "mono.ncx", "dual.ncx", "-o", "both.ncx")
    assert ran.code == 2
    assert "their numbers of channels are 1 and 2" in ran.err
    assert run("repack", "--join", "dual.ncx", "dual.ncx", "-o", "twice.ncx").code == 0
    twice = json.loads(run("inspect", "--json", "twice.ncx").out)["audio"]
    assert (twice["n_channels"], twice["n_samples"]) == (2, 2 * len(samples))


def test_without_m_the_source_chooses_the_model(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_stereo_model(tmp_path)
    monkeypatch.setenv("NCODEC_CACHE", str(tmp_path))
    make_audio("a.wav", n_channels=2, rate=32000)
    make_audio("b.wav", n_channels=1, rate=32000)
    content = Path("a.wav").read_bytes()
    files = told(run("encode", "a.wav", "b.wav", "--json", "-q").out)
    assert [file["model"] for file in files] == ["spectral-48k", "spectral"]
    reasons = [file["model_reason"] for file in files]
    assert reasons == ["full_band_stereo", "not_full_band_stereo"]
    (named,) = told(run("encode", "-m", "spectral", "a.wav", "--json", "-q", "-f").out)
    assert (named["model"], named["model_reason"]) == ("spectral", "named")
    (piped,) = told(run("encode", "-", "-o", "pipe.ncx", "--json", "-q", stdin=content).out)
    assert piped["model"] == "spectral-48k"
    (live,) = told(run("encode", "--live", "a.wav", "--json", "-q", "-f").out)
    assert (live["model"], live["model_reason"]) == ("spectral", "default")
    gapless = told(run("encode", "--gapless", "a.wav", "b.wav", "--json", "-q", "-f").out)
    assert [file["model"] for file in gapless] == ["spectral-48k"] * 2
