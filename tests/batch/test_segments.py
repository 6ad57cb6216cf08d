"""Long files in segments, each coded by itself: joined, they are what the whole would be."""

from collections.abc import Callable
from pathlib import Path

import pytest
from trees import contents, convert, make_audio, make_mixed

from ncodec.batch import work_units
from ncodec.batch.encoder import CodedSegment, Encoder
from ncodec.batch.settings import encode_settings
from ncodec.encoding.options import EncodeOptions

MODELS = (
    "spectral-tiny", "soundstream-tiny", "hilcodec-tiny", "encodec-tiny", "encodec-tiny-stereo",
    "dac-tiny",
)  # fmt: skip


@pytest.fixture
def encoder(architectures: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Encoder]:
    """Make an encoder with a model of a name."""
    monkeypatch.setenv("NCODEC_CACHE", str(architectures))
    return lambda model: Encoder(
        encode_settings(EncodeOptions(model, entropy="adaptive", effort=2))
    )


def in_segments(encoder: Encoder, source: Path, count: int) -> tuple[bytes, list[CodedSegment]]:
    """Return the file, and its parts."""
    told: list[float] = []
    parts = [
        encoder.segment(source.name, source, number, count, told.append) for number in range(count)
    ]
    made = encoder.join(source.name, source, parts, Path("joined"))
    if source.suffix != ".mp3":  # of which nobody knows how long it is
        assert not told or 0.9 < sum(told) < 1.2  # segments of EnCodec overlap
    encoder.convert(source.name, source, Path("whole"), told.append)
    assert Path("joined").read_bytes() == Path("whole").read_bytes()
    assert made == encoder.convert(source.name, source, Path("whole"), told.append)
    return Path("joined").read_bytes(), parts


@pytest.mark.parametrize(
    ("model", "rate", "seconds"),
    [
        pytest.param(
            model, rate, seconds,
            marks=[] if rate == 11025 or model == "spectral-tiny" else pytest.mark.slow,
        )
        for model in MODELS
        for rate, seconds in ((8000, 41.3), (11025, 41.2), (44100, 30.0))
    ],
)  # fmt: skip
def test_every_architecture(
    encoder: Callable[[str], Encoder], model: str, rate: int, seconds: float
) -> None:
    source = make_audio("a.flac", round(rate * seconds), 2, rate, title="Hum")
    _, parts = in_segments(encoder(model), source, 3)
    # LSTMs never forget, and where segments begin depends on all before them.
    assert sum(1 for part in parts if part.packets) == (1 if "encodec" in model else 3)


@pytest.mark.parametrize("effort", ["default", "best"])
def test_bits_are_weighed_in_each_packet_alone(effort: str) -> None:
    encoder = Encoder(encode_settings(EncodeOptions("modelled", effort=effort)))
    source = make_audio("a.flac", round(8000 * 41.3), 2, 8000)
    _, parts = in_segments(encoder, source, 3)
    assert all(part.packets for part in parts)


@pytest.mark.parametrize("seconds", [0, 0.5, 9.99, 10, 10.01, 11.2, 11.3, 19.9, 20.0, 21.3, 31])
@pytest.mark.parametrize("count", [2, 5])
def test_every_length(encoder: Callable[[str], Encoder], seconds: float, count: int) -> None:
    source = make_audio("a.wav", round(8000 * seconds))
    _, parts = in_segments(encoder("spectral-tiny"), source, count)
    assert [part.n_samples for part in parts if part.n_samples is not None] == [8000 * seconds]


def test_a_length_that_is_not_known(encoder: Callable[[str], Encoder]) -> None:
    source = make_audio("a.mp3", 16_000 * 25, rate=16_000)
    _, parts = in_segments(encoder("spectral-tiny"), source, 3)
    assert [bool(part.packets) for part in parts] == [True, False, False]


@pytest.fixture
def _everything_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work_units, "LARGE_BYTES", {False: 50_000, True: 1000})
    monkeypatch.setattr(work_units, "SEGMENT_BYTES", {False: 50_000, True: 50_000})


@pytest.mark.usefixtures("_everything_is_long")
@pytest.mark.parametrize("options", [{}, {"verify": True, "checksum": True}])
def test_with_workers(options: dict[str, bool]) -> None:
    n_files = make_mixed(Path("lib"))
    make_audio("lib/longest.flac", 11025 * 130, 2, 11025, artist="Bee")
    make_audio("lib/long too.wav", 8000 * 90, 2)
    [*convert("lib", "alone", model="tiny", n_workers=0)]
    begun: list[int] = []
    outcomes = [
        *convert("lib", "small", model="tiny", n_workers=2, on_progress=begun.append, **options)
    ]
    assert sorted(outcome.source for outcome in outcomes) == sorted(
        path.relative_to("lib").as_posix() for path in Path("lib").rglob("*") if path.is_file()
    )
    assert len(outcomes) == n_files + 2
    assert {outcome.status for outcome in outcomes} == {"done"}
    assert contents(Path("small")) == contents(Path("alone"))
    assert sum(begun) == sum(outcome.n_bytes_in for outcome in outcomes)
    (longest,) = (outcome for outcome in outcomes if outcome.source == "longest.flac")
    assert longest.seconds == 130
    assert longest.elapsed_s > 0
    assert len(longest.sha256) == 64
    again = [*convert("lib", "small", model="tiny", n_workers=2, **options)]
    assert {outcome.status for outcome in again} == {"skipped"}


@pytest.mark.usefixtures("_everything_is_long")
def test_a_file_fails_once() -> None:
    whole = make_audio("long.flac", 8000 * 140, 2).read_bytes()
    Path("lib").mkdir()
    Path("lib/short.flac").write_bytes(whole[: len(whole) // 2])
    damaged = bytearray(whole)
    for place in range(len(whole) // 3, len(whole), 5000):
        damaged[place] ^= 0x55
    Path("lib/damaged.flac").write_bytes(damaged)
    make_audio("lib/good.flac", 8000 * 140, 2)
    outcomes = {out.source: out for out in convert("lib", "small", model="tiny", n_workers=2)}
    assert len(outcomes) == 3
    assert {source for source, out in outcomes.items() if out.status == "failed"} == {
        "short.flac", "damaged.flac",
    }  # fmt: skip
    assert [*contents(Path("small"))] == ["good.ncx"]
    [*convert("lib", "alone", model="tiny", n_workers=0)]
    assert contents(Path("small")) == contents(Path("alone"))


def test_only_what_is_long_is_split() -> None:
    from ncodec.batch.work_units import Item, make_work_units

    def units_of(
        sizes: list[int], n_workers: int, *, decode: bool = False, **how: object
    ) -> list[int]:
        items = [Item(str(n), str(n), size, 0, **how) for n, size in enumerate(sizes)]  # type: ignore[arg-type]
        return [len(unit.items) if unit.segment is None else -unit.segment[1]
                for unit in make_work_units(items, n_workers, decode=decode)]  # fmt: skip

    gib = 1 << 30
    assert units_of([gib], 2) == [-8] * 8
    assert units_of([gib], 1) == [1]
    assert units_of([gib], 2, decode=True) == [1]
    assert units_of([gib], 2, is_copy=True) == [1]
    assert units_of([gib], 2, known_sha256="0") == [1]
    assert units_of([gib] * 16, 4) == [1] * 16
    assert units_of([gib, 1000, 1000], 2) == [*[-8] * 8, 1, 1]
    assert units_of([40 << 20], 16) == [-2, -2]  # each worth the trouble
    assert units_of([20 << 20], 16) == [1]
