"""The model that comes with the package, on the samples that come with the repository."""

import io
from pathlib import Path

import numpy as np
import pytest
from reference_coders import ReferenceTransformerDecoder
from safetensors.numpy import load_file

import ncodec
from ncodec import audio
from ncodec.bitstream.codes import decode_packets
from ncodec.formats.ncx import Reader
from ncodec.hub.codecs import CODECS, find
from ncodec.hub.entropy_models import choose_entropy, find_for
from ncodec.hub.model_files import SHIPPED

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "samples").glob("*.flac"))
CODED = sorted((ROOT / "samples").glob("*.ncx"))
BANDWIDTHS_KBPS = (1.5, 3.0, 6.0, 12.0)


def si_sdr_db(reference: np.ndarray, estimate: np.ndarray) -> float:
    target = reference * (reference * estimate).sum() / (reference**2).sum()
    return float(10 * np.log10((target**2).sum() / ((estimate - target) ** 2).sum()))


def log_spectra(wav: np.ndarray, rate: int, size: int = 1024) -> np.ndarray:
    """Return the logarithm of the power in bands of 16 bins up to 10 kHz, floor at -60 dB or so."""
    frames = np.lib.stride_tricks.sliding_window_view(wav, size, axis=-1)[..., :: size // 2, :]
    power = np.abs(np.fft.rfft(frames * np.hanning(size))) ** 2
    n_bands = min(size // 2, int(10_000 / rate * size)) // 16
    bands = power[..., : n_bands * 16].reshape(*power.shape[:-1], n_bands, 16).mean(-1)
    return np.log(bands + 1e-2)


def test_there_are_samples_and_their_files() -> None:
    assert len(SOURCES) == 4
    assert {path.stem.split(".")[0] for path in CODED} >= {path.stem for path in SOURCES}


def test_the_default_model_is_shipped_and_says_what_it_is() -> None:
    model = find("spectral")
    assert model.path.parent == SHIPPED
    assert model.model_id == "spectral"
    assert {"licence", "steps", "hours", "device"} <= model.facts.keys()
    assert model.path.stat().st_size < 20_000_000


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.safetensors")), ids=lambda p: p.stem)
def test_shipped_files_are_named_after_their_id(path: Path) -> None:
    assert CODECS.describe(path).model_id == path.stem


@pytest.mark.parametrize("name", ["spectral", "soundstream", "encodec", "hilcodec"])
def test_every_architecture_works_out_of_the_box(name: str) -> None:
    assert find(name).path.parent == SHIPPED
    assert find(name).architecture == name
    wav, rate = audio.read(ROOT / "samples" / "speech_male.flac")
    found = []
    for kbps in (1.5, 6.0):
        blob = ncodec.encode(wav, rate, model=name, bandwidth_kbps=kbps)
        back, back_rate = ncodec.decode(blob)
        assert (back.shape, back_rate) == (wav.shape, rate)
        found.append(si_sdr_db(wav, back))
    assert found[1] > found[0] + 4
    assert found[1] > 1
    silence, _ = ncodec.decode(ncodec.encode(0 * wav, rate, model=name))
    assert np.abs(silence).max() <= (0 if name == "spectral" else 0.02)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_quality_rises_with_bandwidth(path: Path) -> None:
    wav, rate = audio.read(path)
    sdr, distance, sizes = [], [], []
    for kbps in BANDWIDTHS_KBPS:
        blob = ncodec.encode(wav, rate, bandwidth_kbps=kbps)
        back, back_rate = ncodec.decode(blob)
        assert (back.shape, back_rate) == (wav.shape, rate)
        sdr.append(si_sdr_db(wav, back))
        distance.append(float(np.abs(log_spectra(wav, rate) - log_spectra(back, rate)).mean()))
        sizes.append(len(blob))
    assert sdr == sorted(sdr), sdr
    assert distance == sorted(distance, reverse=True), distance
    assert sizes == sorted(sizes)
    assert sdr[-1] > 3
    assert distance[-1] < 0.8


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_files_are_no_larger_than_their_bandwidth(path: Path) -> None:
    wav, rate = audio.read(path)
    seconds = wav.shape[1] / rate
    for kbps in BANDWIDTHS_KBPS:
        packed = ncodec.encode(wav, rate, bandwidth_kbps=kbps, entropy="packed")
        adaptive = ncodec.encode(wav, rate, bandwidth_kbps=kbps, entropy="adaptive")
        coded = kbps * 1000 / 8 * (seconds + 2 / 75) * wav.shape[0]
        assert len(packed) <= coded + 80 + 4 * wav.shape[0]
        assert len(adaptive) <= 1.01 * len(packed)


@pytest.mark.parametrize("path", CODED, ids=lambda path: path.stem)
def test_sample_files_decode(path: Path) -> None:
    """Files written by this release, or another, must stay readable."""
    with path.open("rb") as stream:
        reader = Reader(stream, path.name)
        n_frames = sum(codes.shape[-1] for _, codes in decode_packets(reader))
    source, rate = audio.read(path.with_suffix("").with_suffix(".flac"))
    wav, back_rate = ncodec.decode(path.read_bytes())
    assert n_frames > 0
    assert back_rate == rate
    assert wav.shape == source.shape
    assert si_sdr_db(source, wav) > -6


@pytest.mark.parametrize("entropy", ["packed", "adaptive", "mixed", "transformer"])
@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_overhead_of_ten_seconds_at_the_lowest_bandwidth(path: Path, entropy: str) -> None:
    """Under 4 % of 1.5 kbps; what the better coders save on top makes the share larger again."""
    wav, rate = audio.read(path)
    wav = np.tile(wav[:1], 4)[:, : 10 * rate]
    blob = ncodec.encode(wav, rate, bandwidth_kbps=1.5, entropy=entropy)
    payload = sum(len(packet.payload) for packet in Reader(io.BytesIO(blob)))
    n_bytes = 1500 * 10 / 8 if entropy in ("mixed", "transformer") else len(blob)
    assert len(blob) - payload < 0.04 * n_bytes


def test_the_entropy_model_is_the_default_and_says_what_it_is() -> None:
    entropy = find_for(find("spectral"))
    assert entropy is not None
    assert entropy.path.parent == SHIPPED / "entropy"
    assert choose_entropy(find("spectral"), None).model == entropy
    assert {"licence", "steps", "hours", "device", "bits_per_code"} <= entropy.facts.keys()
    n_tables = entropy.n_codebooks / 8
    assert 2_000_000 <= entropy.n_parameters / n_tables <= 4_000_000
    for n_q, exact in entropy.facts["bits_per_code"].items():
        assert exact < 1.015 * entropy.facts["bits_per_code_unrounded"][n_q]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_files_are_smaller_with_the_entropy_model(path: Path) -> None:
    wav, rate = audio.read(path)
    for kbps in BANDWIDTHS_KBPS:
        sizes = [
            len(ncodec.encode(wav, rate, bandwidth_kbps=kbps, entropy=entropy))
            for entropy in ("transformer", "adaptive", "packed")
        ]
        assert sizes == sorted(sizes)


@pytest.mark.parametrize("path", CODED, ids=lambda path: path.stem)
def test_an_independent_decoder_reads_the_samples(path: Path) -> None:
    """NumPy int64 and the text of PAYLOADS.md find the codes that the network finds."""
    entropy = find_for(find("spectral"))
    assert entropy is not None
    with path.open("rb") as stream:
        reader = Reader(stream, path.name)
        packet, codes = next(iter(decode_packets(reader)))
    header, n_frames = reader.header, 12
    assert header.entropy == 2
    decoder = ReferenceTransformerDecoder(
        load_file(entropy.path), entropy.config["n_heads"], entropy.config["window"],
        header.n_streams, header.n_codebooks,
    )  # fmt: skip
    assert np.array_equal(decoder.decode(packet.payload, n_frames), codes[..., :n_frames])


def test_silence_and_quiet_noise_stay_what_they_are() -> None:
    silent, _ = ncodec.decode(ncodec.encode(np.zeros(48_000), 24_000))
    assert np.abs(silent).max() == 0
    rng = np.random.default_rng(0)
    quiet = 1e-4 * rng.standard_normal(48_000).astype(np.float32)
    back, _ = ncodec.decode(ncodec.encode(quiet, 24_000, bandwidth_kbps=3))
    ratio = np.sqrt((back**2).mean() / (quiet**2).mean())
    assert 0.5 < ratio < 2


def test_level_does_not_matter() -> None:
    wav, rate = audio.read(SOURCES[0])
    loud = ncodec.decode(ncodec.encode(wav, rate))[0]
    soft = ncodec.decode(ncodec.encode(wav * 0.01, rate))[0]
    assert si_sdr_db(loud, soft) > 25
