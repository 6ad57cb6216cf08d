"""Compact model files: what they hold, and how audio decoded with them sounds."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from node_runs import Node, run_node
from safetensors.numpy import load, load_file, save

import ncodec
from ncodec.decoding.decoder import Decoding
from ncodec.decoding.options import DecodeOptions
from ncodec.errors import ModelInvalid
from ncodec.formats.ncx import Reader
from ncodec.hub.codecs import CODECS
from ncodec.hub.model_files import SHIPPED
from ncodec.web.compact import KEY, SCALE, compact, quantised

SAMPLE = Path(__file__).parents[2] / "samples" / "music_mono.6kbps.ncx"
ENTROPY = SHIPPED / "entropy" / "spectral.safetensors"
LEAST_SNR_DB = 30  # docs/WEB.md


@pytest.fixture(scope="module")
def content() -> bytes:
    return compact(CODECS.describe(SHIPPED / "spectral.safetensors"))


def about_of(content: bytes) -> dict[str, Any]:
    size = int.from_bytes(content[:8], "little")
    return json.loads(json.loads(content[8 : 8 + size])["__metadata__"][KEY])


def test_rows_are_within_half_a_step(content: bytes) -> None:
    full, small = load_file(SHIPPED / "spectral.safetensors"), load(content)
    names = {name.removesuffix(SCALE) for name in small}
    assert names == {name for name in full if not name.startswith("encoder")}
    n_scaled = 0
    for name in names:
        values = full[name].astype(np.float32)
        found = small[name].astype(np.float32)
        if name + SCALE in small:
            step = small[name + SCALE][..., None]
            assert small[name].dtype == np.int8
            assert np.abs(found * step - values).max() <= step.max() * 0.5001
            n_scaled += values.size
        else:
            assert np.array_equal(found, values), name
    assert n_scaled > 0.9 * sum(full[name].size for name in names)


def test_rows_of_zeros() -> None:
    whole, scales = quantised(np.array([[0, 0], [-254, 127]], np.float16))
    assert whole.tolist() == [[0, 0], [-127, 64]]
    assert scales.tolist() == [0, 2]


def test_it_stands_for_the_original_and_is_no_model_of_the_library(
    content: bytes, tmp_path: Path
) -> None:
    original = CODECS.describe(SHIPPED / "spectral.safetensors")
    about = about_of(content)
    assert about["compact_of"] == original.sha256
    assert about["config"] == original.config
    path = tmp_path / "compact.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelInvalid, match="not a model file of ncodec"):
        CODECS.describe(path)


@pytest.mark.quick
def test_the_player_decodes_with_it(content: bytes, node: Node, tmp_path: Path) -> None:
    path = tmp_path / "compact.safetensors"
    path.write_bytes(content)
    content = SAMPLE.read_bytes()
    (found,), _ = node.decode([(SAMPLE.name, content)], [path, ENTROPY])
    assert (found["error"], found["codes_error"]) == (None, None)
    decoding = Decoding(Reader(io.BytesIO(content), SAMPLE.name), DecodeOptions(codec_rate=True))
    wanted = np.concatenate(list(decoding.blocks()), 1)
    audio = np.frombuffer(found["audio"], "<f4").reshape(wanted.shape)
    noise = np.square(audio - wanted).sum()
    assert 10 * np.log10(np.square(wanted).sum() / noise) > LEAST_SNR_DB


def test_damaged_ones_are_refused(cache: Path, tmp_path: Path) -> None:
    tiny = CODECS.describe(cache / "models" / "tiny.safetensors")
    file = tmp_path / "song.ncx"
    wav = np.zeros((1, 2000), np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NCODEC_CACHE", str(cache))
        file.write_bytes(ncodec.encode(wav, 8000, model="tiny"))
    content = compact(tiny)
    about, tensors = about_of(content), load(content)
    name = "decoder_out.weight"
    scales = tensors[name + SCALE]
    unscaled = {key: value for key, value in tensors.items() if key != name + SCALE}
    cases = [
        ({}, tensors, None),
        ({"compact_of": 1}, tensors, "model: compact_of is 1, expected a SHA-256"),
        ({"compact_of": "ab"}, tensors, "model: compact_of is ab, expected a SHA-256"),
        ({}, unscaled, f"model: tensor {name}{SCALE}: unknown or missing"),
        ({}, unscaled | {name + SCALE: scales[:1].copy()}, f"model: tensor {name}{SCALE}: F32 [1]"),
        ({}, unscaled | {name + SCALE: scales.astype("f2")}, f"model: tensor {name}{SCALE}: F16 ["),
        ({}, tensors | {name: tensors[name][:1].copy()}, f"model: tensor {name}: I8 [1,"),
    ]
    paths = [tmp_path / f"{number}.safetensors" for number in range(len(cases))]
    for path, (changes, held, _) in zip(paths, cases, strict=True):
        path.write_bytes(save(held, {KEY: json.dumps(about | changes)}))
    for found, (_, _, said) in zip(run_node("models.mjs", file, *paths), cases, strict=True):
        if said is None:
            assert found is None
        else:
            assert found[0] == "ModelInvalid"
            assert said in found[1]
