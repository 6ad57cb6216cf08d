"""Equal channels, and the choice of the model, are those of `ncodec encode`."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny_models import save_stereo_model
from trees import Ran, contents, convert

import ncodec
from ncodec.batch import Outcome
from ncodec.batch.encoder import Encoder
from ncodec.batch.settings import encode_settings
from ncodec.encoding.options import EncodeOptions
from ncodec.formats.ncx import Header, Reader


def make(name: str, n_samples: int, n_channels: int, rate: int, *, equal: bool = False) -> Path:
    wav = 0.1 * np.random.default_rng(n_samples).standard_normal((n_samples, n_channels))
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(name, wav[:, [0] * n_channels] if equal else wav, rate)
    return Path(name)


def go(src: str, dst: str, **options: object) -> dict[str, Outcome]:
    return {done.source: done for done in convert(src, dst, n_workers=0, **options)}


def of_encode(path: Path, **options: object) -> bytes:
    sink = io.BytesIO()
    ncodec.encode_file(path, sink, **options)  # type: ignore[arg-type]
    return sink.getvalue()


def header_of(path: str) -> Header:
    return Reader(io.BytesIO(Path(path).read_bytes()), path).header


def test_short_and_long_files_with_equal_channels() -> None:
    for name, n_samples, equal in (
        ("short", 8000, True), ("long", 90_000, True), ("differ", 8000, False),
        ("alike", 8000, True),
    ):  # fmt: skip
        make(f"lib/{name}.wav", n_samples, 2, 8000, equal=equal)
    done = go("lib", "small", model="tiny")
    made = contents(Path("small"))
    for path in Path("lib").iterdir():
        assert made[f"{path.stem}.ncx"] == of_encode(path, model="tiny"), path
        assert done[path.name].n_coded_channels == (2 if path.stem == "differ" else 1)
    assert [header_of(f"small/{name}.ncx").n_streams for name in ("short", "long")] == [1, 1]
    go("small", "back", decode=True)
    back, _ = soundfile.read("back/short.flac")
    assert back.shape == (8000, 2)
    assert (back[:, 0] == back[:, 1]).all()


def test_segments_of_a_file_with_equal_channels() -> None:
    source = make("a.wav", 8000 * 25, 2, 8000, equal=True)
    encoder = Encoder(encode_settings(EncodeOptions("tiny", effort=1)))
    parts = [encoder.segment("a", source, number, 2, lambda share: None) for number in range(2)]
    assert all(part.packets for part in parts)
    done = encoder.join("a", source, parts, Path("joined"))
    assert done.n_coded_channels == 1
    assert Path("joined").read_bytes() == of_encode(source, model="tiny", effort=1)


def test_the_model_is_chosen_file_by_file(
    run: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_stereo_model(tmp_path)
    monkeypatch.setenv("NCODEC_CACHE", str(tmp_path))
    for name, n_samples, n_channels, rate, equal in (
        ("stereo", 16_000, 2, 32000, False), ("mono", 16_000, 1, 32000, False),
        ("dual", 16_000, 2, 32000, True), ("low", 8000, 2, 8000, False),
        ("long", 110_000, 2, 32000, False),
    ):  # fmt: skip
        make(f"lib/{name}.wav", n_samples, n_channels, rate, equal=equal)
    assert run("batch", "lib", "small", "-j", "0", "--effort", "1", "--report", "r.json").code == 0
    for path in Path("lib").iterdir():
        assert Path(f"small/{path.stem}.ncx").read_bytes() == of_encode(path, effort=1), path
    report = json.loads(Path("r.json").read_text())
    assert report["settings"]["model"] == "spectral"
    assert report["settings"]["stereo_model"] == "spectral-48k"
    models = {file["source"]: file["model"] for file in report["files"]}
    assert models == {
        "stereo.wav": "spectral-48k", "long.wav": "spectral-48k", "mono.wav": "spectral",
        "dual.wav": "spectral", "low.wav": "spectral",
    }  # fmt: skip
    again = go("lib", "small", effort=1)
    assert {outcome.status for outcome in again.values()} == {"skipped"}
    named = go("lib", "other", model="spectral", effort=1)
    assert {outcome.model_id for outcome in named.values()} == {"spectral"}


def test_the_first_track_of_an_album_chooses(
    run: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_stereo_model(tmp_path)
    monkeypatch.setenv("NCODEC_CACHE", str(tmp_path))
    for folder, channels in (("a", (2, 1)), ("b", (1, 2))):
        for number, n_channels in enumerate(channels):
            make(f"lib/{folder}/{number}.wav", 16_000, n_channels, 32000)
    args = ("batch", "lib", "small", "-j", "0", "--effort", "1", "--gapless", "--report", "r.json")
    assert run(*args).code == 0
    files = json.loads(Path("r.json").read_text())["files"]
    models = {file["source"]: file["model"] for file in files}
    assert models["a/0.wav"] == models["a/1.wav"] == "spectral-48k"
    assert models["b/0.wav"] == models["b/1.wav"] == "spectral"


def test_settings_without_a_stereo_model_keep_their_digest() -> None:
    """What earlier versions made is not made again."""
    plain = encode_settings(EncodeOptions())
    assert plain.stereo is None
    assert plain.digest == encode_settings(EncodeOptions("spectral")).digest
