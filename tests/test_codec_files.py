"""The library's functions for paths, bytes and streams make the same bytes as the commands."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner

import ncodec
from ncodec.audio import resampled_length
from ncodec.cli.main import main
from ncodec.errors import AudioError, BadSignature, FormatError, OutputExists, UsageError
from ncodec.formats.ncx import Reader
from ncodec.models.torch_codec import TorchCodec

RATE_HZ = 8000
TAGS = {"TITLE": "Hum", "ARTIST": "Nobody"}


@pytest.fixture(autouse=True)
def _tiny_models(architectures: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NCODEC_CACHE", str(architectures))
    monkeypatch.chdir(tmp_path)


def noise(n_channels: int = 1, n_samples: int = 4000) -> np.ndarray:
    rng = np.random.default_rng(n_samples)
    return (0.1 * rng.standard_normal((n_channels, n_samples))).astype(np.float32)


@pytest.fixture
def song() -> Path:
    """A FLAC file at a rate that no codec has."""
    with soundfile.SoundFile("song.flac", "w", 11025, 2) as file:
        file.title, file.artist = TAGS["TITLE"], TAGS["ARTIST"]
        file.write(noise(2).T)
    return Path("song.flac")


@pytest.fixture
def blob() -> bytes:
    return ncodec.encode(noise(), RATE_HZ, model="tiny", n_q=3, tags=TAGS)


def command(*args: str) -> None:
    ran = CliRunner().invoke(main, args)
    assert ran.exit_code == 0, ran.output


def as_stream(content: bytes) -> io.BytesIO:
    return io.BytesIO(content)


def as_path(content: bytes) -> Path:
    path = Path("given")
    path.write_bytes(content)
    return path


each_kind = pytest.mark.parametrize("given", [bytes, as_stream, as_path, lambda b: str(as_path(b))])


@pytest.mark.quick
@each_kind
def test_encode_file_makes_what_the_command_makes(song: Path, given: type) -> None:
    command("encode", "-q", "-m", "tiny", "--n-q", "2", str(song), "-o", "command.ncx")
    encoded = ncodec.encode_file(given(song.read_bytes()), "song.ncx", model="tiny", n_q=2)
    wanted = Path("command.ncx").read_bytes()
    assert Path("song.ncx").read_bytes() == wanted
    assert (encoded.n_samples, encoded.n_bytes) == (4000, len(wanted))
    sink = io.BytesIO()
    ncodec.encode_file(song, sink, model="tiny", n_q=2)
    assert sink.getvalue() == wanted


@pytest.mark.quick
@each_kind
def test_decode_file_makes_what_the_command_makes(blob: bytes, given: type) -> None:
    Path("song.ncx").write_bytes(blob)
    for name, options in (("a.wav", ()), ("b.flac", ("--start", "0.1", "--end", "0.3"))):
        command("decode", "-q", "song.ncx", "-o", f"command.{name}", *options)
        start, end = (0.1, 0.3) if options else (0, None)
        assert ncodec.decode_file(given(blob), name, start=start, end=end) == 0
        assert Path(name).read_bytes() == Path(f"command.{name}").read_bytes()
    sink = io.BytesIO()
    ncodec.decode_file(blob, sink)
    wav, rate = soundfile.read(io.BytesIO(sink.getvalue()), dtype="float32", always_2d=True)
    assert rate == RATE_HZ
    np.testing.assert_allclose(wav.T, ncodec.decode(blob)[0], atol=1 / 32768)
    with soundfile.SoundFile("b.flac") as file:
        assert (file.title, file.artist) == tuple(TAGS.values())


@each_kind
def test_other_readers_take_what_they_are_given(blob: bytes, given: type) -> None:
    wav, rate = ncodec.decode(given(blob))
    assert (wav.shape, rate) == ((1, 4000), RATE_HZ)
    assert ncodec.read_codes(given(blob)).shape == (1, 3, 51)
    facts = ncodec.inspect(given(blob))
    assert facts.is_whole
    assert facts.n_samples == 4000
    assert facts.header.tags == tuple(TAGS.items())
    assert facts.digest == "ok"


def test_inspect_tells_of_damage(blob: bytes) -> None:
    spoilt = bytearray(blob)
    spoilt[-60] ^= 1
    assert not ncodec.inspect(bytes(spoilt)).is_whole
    with pytest.raises(BadSignature, match="^bytes: "):
        ncodec.inspect(b"RIFF and so on")


def test_files_are_not_replaced_unasked(song: Path, blob: bytes) -> None:
    for name in ("song.ncx", "song.wav"):
        Path(name).write_text("mine")
    codes = ncodec.read_codes(blob)
    with pytest.raises(OutputExists):
        ncodec.encode_file(song, "song.ncx", model="tiny")
    with pytest.raises(OutputExists):
        ncodec.write_codes("song.ncx", codes, model="tiny")
    with pytest.raises(OutputExists):
        ncodec.decode_file(blob, "song.wav")
    assert Path("song.ncx").read_text() == Path("song.wav").read_text() == "mine"
    ncodec.encode_file(song, "song.ncx", model="tiny", overwrite=True)
    ncodec.decode_file("song.ncx", "song.wav", overwrite=True)
    assert soundfile.info("song.wav").frames == 4000


def test_a_failure_leaves_no_file(blob: bytes) -> None:
    with pytest.raises(AudioError):
        ncodec.encode_file(b"no audio", "song.ncx", model="tiny")
    with pytest.raises(FormatError):
        ncodec.decode_file(blob[:-40], "song.wav")
    assert not list(Path().iterdir())


def model_of(name: str) -> tuple[TorchCodec, torch.Tensor]:
    codec = ncodec.load_model(name)
    n_channels = codec.config.n_channels
    return codec, torch.from_numpy(noise(n_channels, 4000)).reshape(1, n_channels, 4000)


MODELS = (
    "tiny", "soundstream-tiny", "hilcodec-tiny", "encodec-tiny", "encodec-tiny-stereo", "dac-tiny",
)  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_a_model_codes_tensors_and_its_codes_make_a_file(name: str) -> None:
    codec, wav = model_of(name)
    chunk = codec.encode(wav, 2)
    made = io.BytesIO()
    ncodec.write_codes(
        made, chunk.codes, model=name, scales=chunk.scales, n_samples=4000, entropy="packed"
    )
    whole = ncodec.encode(
        wav[0], RATE_HZ, model=name, n_q=2, entropy="packed", effort=codec.default_beam_width
    )
    assert np.array_equal(ncodec.read_codes(whole), chunk.codes)
    # A level may differ in its last bit where files are encoded by the kernel and this in torch.
    files = [Reader(io.BytesIO(blob), "file") for blob in (made.getvalue(), whole)]
    assert files[0].header == files[1].header
    scales = [[scale for packet in file for scale in packet.scales] for file in files]
    np.testing.assert_allclose(scales[0], scales[1], rtol=1e-6)
    np.testing.assert_allclose(codec.decode(chunk, 4000)[0], ncodec.decode(whole)[0], atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("n_frames", [0, 1, 2, 75, 2000])
@pytest.mark.parametrize("rate", [None, 11025])
def test_codes_of_any_length_make_audio(name: str, n_frames: int, rate: int | None) -> None:
    codec = ncodec.load_model(name)
    rng = np.random.default_rng(n_frames)
    codes = rng.integers(0, codec.config.codebook_size, (1, 2, n_frames))
    sink = io.BytesIO()
    try:
        ncodec.write_codes(sink, codes, model=name, sample_rate_hz=rate)
    except UsageError:
        assert n_frames < codec.n_frames(1)  # too few for any audio
        return
    assert np.array_equal(ncodec.read_codes(sink.getvalue()), codes)
    wav, found = ncodec.decode(sink.getvalue())
    assert found == (rate or RATE_HZ)
    assert codec.n_frames(resampled_length(wav.shape[1], found, RATE_HZ)) == n_frames


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (np.zeros((2, 10), int), "shape"),
        (np.zeros((1, 2, 10)), "float64"),
        (np.full((1, 2, 10), 16), "0 to 15"),
        (np.full((1, 2, 10), -1), "0 to 15"),
        (np.zeros((1, 5, 10), int), "1 to 4"),
    ],
)
def test_refuses_codes(codes: np.ndarray, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ncodec.write_codes(io.BytesIO(), codes, model="tiny")


def test_refuses_another_length() -> None:
    with pytest.raises(UsageError, match="10 frames: 5 samples have 2"):
        ncodec.write_codes(io.BytesIO(), np.zeros((1, 2, 10), int), model="tiny", n_samples=5)


def test_all_names_are_there_and_importing_them_is_what_loads_torch() -> None:
    code = "import ncodec, sys; assert 'torch' not in sys.modules; print(*dir(ncodec))"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    for name in ncodec.__all__:
        assert getattr(ncodec, name)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        getattr(ncodec, "nothing")  # noqa: B009
