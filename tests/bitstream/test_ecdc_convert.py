"""Between .ecdc and .ncx: the codes stay, byte for byte where nothing is lost."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from reference_encodec import reference

from ncodec.audio import ArraySource
from ncodec.bitstream.codes import CodesWriter, decode_packets, iterate_codes, join
from ncodec.bitstream.ecdc.codes import Segment, write_ecdc
from ncodec.bitstream.ecdc.convert import ecdc_to_ncx, ncx_to_ecdc
from ncodec.bitstream.repack import Wanted, ncx_to_ncx
from ncodec.codec import decode, encode, read_codes
from ncodec.encoding.ecdc import encode_ecdc
from ncodec.encoding.options import EncodeOptions
from ncodec.errors import InvalidField, ModelMissing, NcodecError, UsageError
from ncodec.formats.ecdc import EcdcHeader
from ncodec.formats.ecdc_arithmetic import ArithmeticEncoder
from ncodec.formats.ncx import Reader, Writer
from ncodec.hub.codecs import find, save_codec
from ncodec.hub.language_models import find_for, load, save
from ncodec.models.encodec import PRESETS, Encodec
from ncodec.models.encodec_lm import PRESETS as LM_PRESETS
from ncodec.models.encodec_lm import EncodecLm, LmContext

MODELS = ("encodec_24khz", "encodec_48khz")


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with both models of the official sizes, and their language models; random weights."""
    cache = tmp_path_factory.mktemp("official")
    (cache / "models" / "ecdc-lm").mkdir(parents=True)
    for number, name in enumerate(MODELS):
        torch.manual_seed(number)
        path = cache / "models" / f"{name}.safetensors"
        save_codec(path, name, Encodec(PRESETS[name]), {}, torch.float32)
        lm = EncodecLm(LM_PRESETS[name])
        save(cache / "models" / "ecdc-lm" / f"{name}.safetensors", name, LM_PRESETS[name],
             lm.state_dict(), {})  # fmt: skip
    return cache


@pytest.fixture(autouse=True)
def _cache(official: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NCODEC_CACHE", str(official))


def made(name: str, n_samples: int, n_q: int = 4, *, lm: bool = False) -> bytes:
    """An .ecdc file of random codes."""
    header = EcdcHeader(name, n_samples, n_q, lm)
    rng = np.random.default_rng(n_samples)
    segments = [
        Segment(
            rng.integers(0, 1024, (n_q, n_frames)),
            float(np.float32(rng.random())) if header.geometry.has_scales else None,
        )
        for n_frames in header.segment_frames()
    ]
    sink = io.BytesIO()
    write_ecdc(sink, header, segments)
    return sink.getvalue()


def to_ncx(ecdc: bytes, entropy: str | None = None) -> bytes:
    sink = io.BytesIO()
    ecdc_to_ncx(io.BytesIO(ecdc), "song.ecdc", sink, entropy)
    return sink.getvalue()


def to_ecdc(ncx: bytes, *, lm: bool = False) -> bytes:
    sink = io.BytesIO()
    ncx_to_ecdc(Reader(io.BytesIO(ncx), "song.ncx"), sink, lm=lm)
    return sink.getvalue()


LENGTHS = [
    *((MODELS[0], n) for n in (1, 320, 24001, 24000 * 31)),
    *((MODELS[1], n) for n in (1, 47520, 47521, 47681, 48000, 95041, 48000 * 12)),
    *((MODELS[1], 47520 * n + 100) for n in (9, 10, 11, 20)),  # the last two of 149 and 1 frames
]


@pytest.mark.parametrize("entropy", ["packed", "adaptive"])
@pytest.mark.parametrize(("name", "n_samples"), LENGTHS)
def test_there_and_back_gives_the_same_bytes(name: str, n_samples: int, entropy: str) -> None:
    ecdc = made(name, n_samples)
    assert to_ecdc(to_ncx(ecdc, entropy)) == ecdc


@pytest.mark.parametrize(("name", "n_samples"), [(MODELS[0], 7000), (MODELS[1], 49000)])
def test_with_the_language_model_too(name: str, n_samples: int) -> None:
    ecdc = made(name, n_samples, 2, lm=True)
    ncx = to_ncx(ecdc)
    assert to_ecdc(ncx, lm=True) == ecdc
    assert to_ecdc(ncx) == made(name, n_samples, 2)


def test_a_language_model_run_with_more_threads_is_tried_too() -> None:
    """As EnCodec's own tool runs it, on a machine with more than one core."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        name, n_samples, n_q = MODELS[0], 320 * 60, 8
        header = EcdcHeader(name, n_samples, n_q, lm=True)
        file = find_for(name)
        assert file is not None
        context = LmContext(load(file))
        coder, last = ArithmeticEncoder(), None
        codes = np.random.default_rng(5).integers(0, 1024, (60, n_q))
        for frame in codes:
            for symbol, table in zip(frame.tolist(), context.tables(last, n_q), strict=True):
                coder.push(symbol, table.data)
            last = frame
        blob = header.pack() + coder.finish()
        reader = Reader(io.BytesIO(to_ncx(blob)))
        np.testing.assert_array_equal(join(list(iterate_codes(reader)), reader.header)[0].T, codes)
    finally:
        torch.set_num_threads(before)


def test_header_says_all_that_a_decoder_needs() -> None:
    header = Reader(io.BytesIO(to_ncx(made(MODELS[1], 100000, 8)))).header
    assert (header.architecture, header.model_id, header.n_codebooks) == (3, MODELS[1], 8)
    assert (header.sample_rate_hz, header.n_channels, header.n_streams) == (48000, 2, 1)
    assert (header.n_samples, header.bitrate_bps) == (100000, 12000)
    assert header.model_fingerprint == find(MODELS[1]).fingerprint


@pytest.mark.parametrize(("name", "n_samples"), [(MODELS[0], 24500), (MODELS[1], 60000)])
def test_it_decodes_as_the_authors_package_does(
    name: str, n_samples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both read the other's files, and make the same files of the same audio."""
    package, compress = reference(), sys.modules["encodec.compress"]
    rng = np.random.default_rng(1)
    wav = (0.1 * rng.standard_normal((PRESETS[name].n_channels, n_samples))).astype(np.float32)
    codec = Encodec(PRESETS[name])
    torch.manual_seed(2)
    theirs = getattr(package.model.EncodecModel, f"encodec_model_{name[8:]}")(pretrained=False)
    theirs.name, theirs = name, theirs.eval()
    theirs.set_target_bandwidth(6.0)
    from ncodec.hub.importers.encodec import convert

    for codebook in theirs.quantizer.vq.layers:
        codebook._codebook.embed.copy_(torch.randn(1024, 128))
    converted = convert(theirs.state_dict(), None)
    assert converted is not None
    codec.load_state_dict(dict(converted.tensors))
    monkeypatch.setattr("ncodec.encoding.encoder.load_codec", lambda *_: codec)
    monkeypatch.setattr("ncodec.bitstream.span_codes.load_codec", lambda *_: codec)
    monkeypatch.setitem(compress.MODELS, name, lambda: theirs)
    with torch.no_grad():
        written = compress.compress(theirs, torch.from_numpy(wav), use_lm=False)
    ours = io.BytesIO()
    source = ArraySource(wav, PRESETS[name].sample_rate_hz)
    n_q = PRESETS[name].n_q_for(6.0)
    encode_ecdc(source, ours, EncodeOptions(name, n_q=n_q).resolve())
    assert ours.getvalue() == written
    with torch.no_grad():
        audio, _ = compress.decompress(ours.getvalue())
    mine, rate = decode(to_ncx(written))
    assert rate == PRESETS[name].sample_rate_hz
    np.testing.assert_allclose(mine, audio.numpy(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", MODELS)
def test_effort_is_the_models_own_choice_unless_given(name: str) -> None:
    wav = 0.1 * np.random.default_rng(0).standard_normal((1, 24000)).astype(np.float32)
    made = []
    for effort in (None, 1, 64):  # enough for the little that random weights make of audio
        source, sink = ArraySource(wav, PRESETS[name].sample_rate_hz), io.BytesIO()
        encode_ecdc(source, sink, EncodeOptions(name, n_q=4, effort=effort).resolve())
        made.append(sink.getvalue())
        same = encode(wav, source.sample_rate_hz, model=name, n_q=4, effort=effort)
        assert to_ecdc(same) == sink.getvalue()
    assert made[0] == made[1] != made[2]


def test_other_coders_keep_the_codes(tmp_path: Path) -> None:
    wav = 0.1 * np.random.default_rng(0).standard_normal((2, 24000)).astype(np.float32)
    one = encode(wav, 24000, model=MODELS[0], n_q=3, tags={"TITLE": "x"}, entropy="adaptive")
    sink = io.BytesIO()
    ncx_to_ncx(Reader(io.BytesIO(one)), sink, Wanted(entropy="packed"))
    two = Reader(io.BytesIO(sink.getvalue()))
    (tmp_path / "one.ncx").write_bytes(one)
    (tmp_path / "two.ncx").write_bytes(sink.getvalue())
    np.testing.assert_array_equal(
        read_codes(tmp_path / "one.ncx"), read_codes(tmp_path / "two.ncx")
    )
    assert two.header.tags == (("TITLE", "x"),)
    assert two.header.entropy != Reader(io.BytesIO(one)).header.entropy
    back = io.BytesIO()
    ncx_to_ncx(two, back, Wanted(entropy="adaptive"))
    assert back.getvalue() == one


def test_what_ecdc_cannot_hold_is_refused_or_said() -> None:
    wav = np.zeros((2, 24000), np.float32)
    wav[1, 0] = 0.1  # equal channels are coded as one
    stereo = encode(wav, 24000, model=MODELS[0], n_q=2)
    with pytest.raises(UsageError, match=r"2 streams; an \.ecdc file holds one"):
        to_ecdc(stereo)
    with pytest.raises(UsageError, match="made with model 'spectral'"):
        to_ecdc(encode(wav, 24000, n_q=2))
    four = ArraySource(np.zeros((4, 100), np.float32), 48000)
    with pytest.raises(UsageError, match="4 channels; an .ecdc file of encodec_48khz has 2"):
        encode_ecdc(four, io.BytesIO(), EncodeOptions(MODELS[1], n_q=2).resolve())
    with pytest.raises(UsageError, match="no samples"):
        to_ecdc(encode(wav[:1, :0], 24000, model=MODELS[0], n_q=2))
    tagged = encode(wav[:1], 44100, model=MODELS[0], n_q=2, tags={"TITLE": "x"})
    written = ncx_to_ecdc(Reader(io.BytesIO(tagged)), io.BytesIO())
    assert written.left_out == ("tags", "the source's sample rate 44100 Hz")


def test_wrong_number_of_scales_is_refused() -> None:
    good = to_ncx(made(MODELS[1], 96000))
    reader = Reader(io.BytesIO(good))
    packets = list(decode_packets(reader))
    assert len(packets[0][0].scales) == 3
    header = EcdcHeader(MODELS[1], 96000, 4, False)
    from ncodec.bitstream.ecdc.convert import cut_segments

    short = [(packets[0][1][0], packets[0][0].scales[:2])]
    with pytest.raises(UsageError, match="2 scales, expected more"):
        write_ecdc(io.BytesIO(), header, cut_segments(header, short))


def test_missing_model_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ecdc = made(MODELS[0], 400)
    monkeypatch.setenv("NCODEC_CACHE", str(tmp_path))
    with pytest.raises(ModelMissing, match="`ncodec models pull encodec_24khz` installs it"):
        to_ncx(ecdc)


def test_packets_end_between_segments() -> None:
    for n_segments in (9, 10, 11, 20):
        ncx = to_ncx(made(MODELS[1], 47520 * n_segments + 100))
        frames = [packet.n_frames for packet, _ in decode_packets(Reader(io.BytesIO(ncx)))]
        assert all(n % 150 == 0 for n in frames[:-1])
        wav, _ = decode(ncx)
        assert wav.shape == (2, 47520 * n_segments + 100)


@pytest.mark.parametrize("sizes", [(1, 150, 150), (149, 1, 151), (150, 10, 140)])
def test_a_packet_behind_one_that_ends_within_a_segment_is_refused(sizes: tuple[int, ...]) -> None:
    header = Reader(io.BytesIO(to_ncx(made(MODELS[1], 142560 - 200, 2)))).header
    sink = io.BytesIO()
    packets = CodesWriter(Writer(sink, header))
    for n_frames in sizes:
        packets.write(np.zeros((1, 2, n_frames), np.int64), (1.0,) * -(-n_frames // 150))
    packets.finish(header.n_samples or 0)
    with pytest.raises(InvalidField, match="follows one that ends within a segment of 150 frames"):
        decode(sink.getvalue())


def test_scales_beyond_all_audio_are_refused() -> None:
    header = Reader(io.BytesIO(to_ncx(made(MODELS[1], 48000, 2)))).header
    sink = io.BytesIO()
    packets = CodesWriter(Writer(sink, header))
    packets.write(np.zeros((1, 2, 150), np.int64), (3e38,))
    packets.write(np.zeros((1, 2, 2), np.int64), (3e38,))
    packets.finish(48000)
    with pytest.raises(InvalidField, match="packet 0 at byte .* its scales are beyond"):
        decode(sink.getvalue())


def test_weights_of_another_name_are_said(official: Path) -> None:
    torch.manual_seed(8)
    path = official / "models" / "mine.safetensors"
    save_codec(path, "mine", Encodec(PRESETS[MODELS[0]]), {}, torch.float32)
    try:
        wav = np.zeros((1, 24000), np.float32)
        coded = encode(wav, 24000, model="mine", n_q=2)
        said = "saying that its weights are those of 'mine', and not of 'encodec_24khz'"
        assert ncx_to_ecdc(Reader(io.BytesIO(coded)), io.BytesIO()).left_out == (said,)
        source = ArraySource(wav, 24000)
        options = EncodeOptions("mine", n_q=2).resolve()
        assert encode_ecdc(source, io.BytesIO(), options).left_out == (said,)
    finally:
        path.unlink()


def test_what_follows_a_language_model_s_stream_is_not_read() -> None:
    """Bytes behind the end are an error at once, however many there are."""

    class Endless(io.RawIOBase):
        def __init__(self, start: bytes) -> None:
            self.start = io.BytesIO(start)
            self.n_behind = 0

        def read(self, size: int = -1, /) -> bytes:
            found = self.start.read(size)
            self.n_behind += 0 if found else size
            return found or bytes(size)

    stream = Endless(made(MODELS[0], 3200, 2, lm=True))
    with pytest.raises(InvalidField, match="expected no more bytes"):
        ecdc_to_ncx(stream, "x.ecdc", io.BytesIO())
    assert stream.n_behind < 1 << 16


def test_damaged_files_are_refused() -> None:
    ecdc = made(MODELS[0], 24000)
    for broken in (ecdc[:-1], ecdc + b"\0", b"ECDC", ecdc[:5] + b"\xff" + ecdc[6:]):
        with pytest.raises(NcodecError):
            to_ncx(broken)
    assert to_ecdc(to_ncx(ecdc)) == ecdc
