"""What sources are coded as: one channel where all are equal; the model where none is named."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny_models import noise, save_stereo_model

import ncodec
from ncodec.audio import AudioSource
from ncodec.encoding.choice import Choices, are_equal, have_equal_channels
from ncodec.encoding.options import EncodeOptions
from ncodec.errors import UsageError
from ncodec.formats.ncx import Reader

RATE = 8000


@pytest.fixture(autouse=True)
def _tiny(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NCODEC_CACHE", str(cache))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def _with_stereo_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cache").mkdir()
    save_stereo_model(tmp_path / "cache")
    monkeypatch.setenv("NCODEC_CACHE", str(tmp_path / "cache"))


def dual(n_samples: int = 6000, n_channels: int = 2) -> np.ndarray:
    return np.repeat(noise(1, n_samples), n_channels, axis=0)


def almost(n_samples: int = 6000) -> np.ndarray:
    """The last sample differs, by one step of 16 bits."""
    wav = dual(n_samples)
    wav[1, -1] += 2**-15
    return wav


def wav_file(name: str, wav: np.ndarray, rate: int = RATE) -> Path:
    soundfile.write(name, wav.T, rate, "FLOAT")
    return Path(name)


def test_channels_are_equal_or_not() -> None:
    assert are_equal(dual())
    assert are_equal(dual(n_channels=5))
    assert not are_equal(almost())
    assert not are_equal(noise(1, 100))  # a single one is equal to none
    assert not are_equal(np.zeros((2, 0), np.float32))
    assert not are_equal(np.stack([dual()[0], dual()[0], 2 * dual()[0]]))


@pytest.mark.parametrize("n_samples", [1, 6000, 50_000])
def test_files_have_equal_channels_or_not(n_samples: int) -> None:
    assert have_equal_channels(wav_file("a.wav", dual(n_samples)))
    assert not have_equal_channels(wav_file("b.wav", almost(n_samples)))
    assert not have_equal_channels(wav_file("c.wav", noise(1, n_samples)))


def test_a_file_without_samples_or_with_damage_has_none() -> None:
    assert not have_equal_channels(wav_file("a.wav", np.zeros((2, 0), np.float32)))
    cut = wav_file("b.wav", dual()).read_bytes()[:-1000]
    Path("b.wav").write_bytes(cut)
    assert not have_equal_channels("b.wav")
    assert have_equal_channels("b.wav", conceal=True)
    assert not have_equal_channels("none.wav")


def test_a_file_is_read_up_to_the_first_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    blocks = AudioSource.blocks

    def counted(self: AudioSource, n: int) -> Iterator[np.ndarray]:
        for block in blocks(self, n):
            read.append(block.shape[1])
            yield block

    monkeypatch.setattr(AudioSource, "blocks", counted)
    wav = dual(200_000)
    wav[0, 40_000] = 0.5
    assert not have_equal_channels(wav_file("a.wav", wav))
    assert 40_000 < sum(read) < 60_000


def test_equal_channels_are_coded_as_one_and_come_back() -> None:
    mono, made = (ncodec.encode(wav, RATE, model="tiny") for wav in (dual()[:1], dual()))
    assert len(mono) < len(made) <= len(mono) + 4
    header = Reader(io.BytesIO(made)).header
    assert (header.n_channels, header.n_streams, header.n_output_channels) == (1, 1, 2)
    back, rate = ncodec.decode(made)
    assert (back.shape, rate) == ((2, 6000), RATE)
    assert np.array_equal(back[0], back[1])
    assert np.array_equal(back[:1], ncodec.decode(mono)[0])
    part, _ = ncodec.decode(made, start=0.1, end=0.3)
    assert np.array_equal(part, back[:, 800:2400])
    facts = ncodec.inspect(made)
    assert facts.is_whole


def test_the_same_from_files_but_not_from_streams() -> None:
    content = wav_file("a.wav", dual()).read_bytes()
    made: list[bytes] = []
    for source in ("a.wav", content, io.BytesIO(content)):
        sink = io.BytesIO()
        done = ncodec.encode_file(source, sink, model="tiny")
        made.append(sink.getvalue())
        assert done.n_channels == 2
        assert done.n_coded_channels == (1 if len(made) <= 2 else 2)
    assert made[0] == made[1] == ncodec.encode(dual(), RATE, model="tiny")
    assert Reader(io.BytesIO(made[2])).header.n_streams == 2


def test_channels_that_differ_in_the_end_are_all_coded() -> None:
    for wav in (almost(), np.concatenate([dual(), noise(1, 6000, seed=5)])):
        header = Reader(io.BytesIO(ncodec.encode(wav, RATE, model="tiny"))).header
        assert header.n_channels == header.n_streams == len(wav)
        sink = io.BytesIO()
        ncodec.encode_file(wav_file("a.wav", wav), sink, model="tiny")
        assert Reader(io.BytesIO(sink.getvalue())).header.n_channels == len(wav)


def test_decoders_give_all_channels() -> None:
    made = ncodec.encode(dual(n_channels=3), RATE, model="tiny")
    wav, _ = ncodec.decode(made)
    decoder = ncodec.StreamDecoder()
    pushed = decoder.push(made[:60])
    assert decoder.header is not None
    assert pushed.shape == (3, 0)
    streamed = np.concatenate([pushed, decoder.push(made[60:]), decoder.finish()], axis=1)
    assert np.array_equal(streamed, wav)
    ncodec.decode_file(made, "back.wav")
    assert soundfile.info("back.wav").channels == 3
    codes, facts = ncodec.read_codes(made, with_facts=True)
    assert len(codes) == 1
    sink = io.BytesIO()
    ncodec.write_codes(sink, codes, facts=facts)
    assert np.array_equal(ncodec.decode(sink.getvalue())[0], wav)


def why(options: EncodeOptions, rate: int, n_channels: int, equal: bool = False) -> tuple[str, str]:
    chosen, reason = Choices(options).options_for(rate, n_channels, equal_channels=equal)
    return chosen.model.model_id, reason


def test_without_the_stereo_model_there_is_no_choice() -> None:
    assert why(EncodeOptions(), 48000, 2) == ("spectral", "default")
    assert why(EncodeOptions("tiny"), 48000, 2) == ("tiny", "named")


@pytest.mark.usefixtures("_with_stereo_model")
def test_the_model_is_chosen_by_the_source() -> None:
    for rate, n_channels, equal, expected in (
        (48000, 2, False, "spectral-48k"), (32000, 2, False, "spectral-48k"),
        (31999, 2, False, "spectral"), (48000, 2, True, "spectral"), (48000, 1, False, "spectral"),
        (48000, 3, False, "spectral"),
    ):  # fmt: skip
        reason = "full_band_stereo" if expected == "spectral-48k" else "not_full_band_stereo"
        assert why(EncodeOptions(), rate, n_channels, equal) == (expected, reason)
    assert why(EncodeOptions("spectral"), 48000, 2) == ("spectral", "named")
    live, reason = Choices(EncodeOptions(), live=True).options_for(48000, 2)
    assert (live.model.model_id, reason) == ("spectral", "default")


@pytest.mark.usefixtures("_with_stereo_model")
def test_a_model_that_cannot_do_what_is_asked_is_not_chosen() -> None:
    assert why(EncodeOptions(bandwidth_kbps=12), 48000, 2) == ("spectral", "default")
    only_stereo = Choices(EncodeOptions()).stereo
    assert only_stereo is not None
    kbps = only_stereo.model.config["bandwidths_kbps"][0]
    choices = Choices(EncodeOptions(bandwidth_kbps=kbps))
    assert choices.options_for(48000, 2)[0].model.model_id == "spectral-48k"
    with pytest.raises(UsageError, match="bandwidth"):
        choices.options_for(48000, 1)
    with pytest.raises(UsageError, match="bandwidth"):
        Choices(EncodeOptions(bandwidth_kbps=0.123))


@pytest.mark.usefixtures("_with_stereo_model")
def test_arrays_and_files_are_coded_by_the_chosen_model() -> None:
    for wav, expected in ((noise(2, 3200), "spectral-48k"), (dual(3200), "spectral")):
        made = ncodec.encode(wav, 32000)
        sink = io.BytesIO()
        ncodec.encode_file(wav_file("a.wav", wav, 32000), sink)
        assert sink.getvalue() == made
        assert Reader(io.BytesIO(made)).header.model_id == expected
    assert len(ncodec.read_codes(ncodec.encode(dual(3200), 32000, model="spectral-48k"))) == 1
    header = Reader(io.BytesIO(ncodec.encode(dual(3200), 32000, model="spectral-48k"))).header
    assert (header.n_channels, header.n_copies) == (2, 1)  # a stereo codec gains nothing
