"""Model files: what they say of themselves, and which are refused."""

import json
import struct
from pathlib import Path

import pytest
import torch

from ncodec.errors import ModelInvalid, ModelMismatch, ModelMissing
from ncodec.models.spectral import PRESETS, SpectralCodec
from ncodec.weights import check_fingerprint, describe, find, installed, load_codec, save_codec


@pytest.fixture(autouse=True)
def _tiny_model(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NCODEC_CACHE", str(cache))


def test_finds_by_id_and_by_architecture() -> None:
    assert find("tiny").model_id == "tiny"
    assert find("spectral").architecture == "spectral"
    assert "tiny" in installed()
    with pytest.raises(ModelMissing, match="installed:.*tiny"):
        find("no-such-model")


def test_a_model_file_describes_itself(tmp_path: Path) -> None:
    torch.manual_seed(1)
    codec = SpectralCodec(PRESETS["spectral-tiny"])
    save_codec(tmp_path / "m.safetensors", "m", codec, {"licence": "CC0-1.0", "steps": 3})
    model = describe(tmp_path / "m.safetensors")
    assert model.config == json.loads(json.dumps(codec.config.to_dict()))
    assert model.facts == {"licence": "CC0-1.0", "steps": 3}
    assert model.n_parameters == sum(t.numel() for t in codec.state_dict().values())
    assert model.fingerprint.hex() == model.sha256[:8]
    loaded = load_codec(model)
    for name, tensor in loaded.state_dict().items():
        torch.testing.assert_close(tensor, codec.state_dict()[name], atol=2e-3, rtol=1e-3)
    assert not loaded.training
    again = tmp_path / "again.safetensors"
    save_codec(again, "m", codec, {"licence": "CC0-1.0", "steps": 3})
    assert again.read_bytes() == (tmp_path / "m.safetensors").read_bytes()


def test_fingerprint_must_match() -> None:
    model = find("tiny")
    check_fingerprint(model, model.fingerprint, "song.ncx")
    with pytest.raises(ModelMismatch, match=r"song.ncx: made with weights 00000000"):
        check_fingerprint(model, bytes(4), "song.ncx")


def header(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


@pytest.mark.parametrize(
    ("blob", "message"),
    [
        (b"", "0 bytes"),
        (b"\xff" * 100, "limit"),
        (header("{ not json"), "not JSON"),
        (header("{}"), "not a model file"),
        (header('{"__metadata__": {"ncodec": "[]"}}'), "not a model file"),
        (header('{"__metadata__": {"ncodec": "{}"}}'), "not a model file"),
    ],
)
def test_refuses_what_is_not_a_model(tmp_path: Path, blob: bytes, message: str) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(blob)
    with pytest.raises(ModelInvalid, match=message):
        describe(path)


def test_refuses_weights_that_do_not_fit(tmp_path: Path, cache: Path) -> None:
    blob = (cache / "models/tiny.safetensors").read_bytes()
    other = blob.replace(b'\\"width\\": 24', b'\\"width\\": 32')
    assert other != blob
    path = tmp_path / "other.safetensors"
    path.write_bytes(other)
    with pytest.raises(ModelInvalid, match="do not fit"):
        load_codec(describe(path))


def test_refuses_unknown_config_keys(tmp_path: Path, cache: Path) -> None:
    blob = (cache / "models/tiny.safetensors").read_bytes()
    path = tmp_path / "other.safetensors"
    path.write_bytes(blob.replace(b'\\"width\\"', b'\\"wodth\\"'))
    with pytest.raises(ModelInvalid, match="wodth"):
        load_codec(describe(path))
