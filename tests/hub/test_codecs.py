"""Model files: what they say of themselves, and which are refused."""

import hashlib
import json
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest
import torch

from ncodec.errors import ModelInvalid, ModelMismatch, ModelMissing
from ncodec.hub.codecs import CODECS, find, find_exact, installed, load_torch_codec, save_codec
from ncodec.hub.model_files import SHIPPED
from ncodec.models.encodec import PRESETS as ENCODEC_PRESETS
from ncodec.models.encodec import Encodec
from ncodec.models.spectral import SpectralCodec
from ncodec.models.spectral_base import PRESETS

pytestmark = pytest.mark.quick


@pytest.fixture(autouse=True)
def _tiny_model(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NCODEC_CACHE", str(cache))


def test_finds_by_id_and_by_architecture() -> None:
    assert find("tiny").model_id == "tiny"
    assert find("spectral").architecture == "spectral"
    assert "tiny" in {model.model_id for model in installed()}
    with pytest.raises(ModelMissing, match="installed:.*tiny"):
        find("no-such-model")


def test_an_architecture_means_what_the_user_has_installed(cache: Path) -> None:
    """The package comes with a small EnCodec; whoever has pulled the authors' means that."""
    models = cache / "models"
    codec = Encodec(ENCODEC_PRESETS["encodec-tiny"])
    save_codec(models / "mine.safetensors", "mine", codec, {})
    try:
        assert find("encodec").model_id == "mine"
    finally:
        (models / "mine.safetensors").unlink()
    assert find("encodec").path.parent == SHIPPED


def test_a_model_file_describes_itself(tmp_path: Path) -> None:
    torch.manual_seed(1)
    codec = SpectralCodec(PRESETS["spectral-tiny"])
    save_codec(tmp_path / "m.safetensors", "m", codec, {"licence": "CC0-1.0", "steps": 3})
    model = CODECS.describe(tmp_path / "m.safetensors")
    assert model.config == json.loads(json.dumps(codec.config.to_dict()))
    assert model.facts == {"licence": "CC0-1.0", "steps": 3}
    assert model.n_parameters == sum(t.numel() for t in codec.state_dict().values())
    assert model.fingerprint.hex() == model.sha256[:8]
    loaded = load_torch_codec(model)
    for name, tensor in loaded.state_dict().items():
        torch.testing.assert_close(tensor, codec.state_dict()[name], atol=2e-3, rtol=1e-3)
    assert not loaded.training
    again = tmp_path / "again.safetensors"
    save_codec(again, "m", codec, {"licence": "CC0-1.0", "steps": 3})
    assert again.read_bytes() == (tmp_path / "m.safetensors").read_bytes()


def test_the_very_weights_are_found_among_others_of_their_id(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models").mkdir()
    shutil.copy(cache / "models/tiny.safetensors", tmp_path / "models/old.safetensors")
    old = find("tiny")
    torch.manual_seed(9)
    newer = tmp_path / "models/new.safetensors"
    save_codec(newer, "tiny", SpectralCodec(PRESETS["spectral-tiny"]), {})
    monkeypatch.setenv("NCODEC_CACHE", str(tmp_path))
    assert find_exact("tiny", old.fingerprint).path.name == "old.safetensors"
    assert find_exact("tiny", CODECS.describe(newer).fingerprint).path.name == "new.safetensors"
    with pytest.raises(
        ModelMismatch, match=r"weights 00000000 of model 'tiny': not installed; .*new"
    ):
        find_exact("tiny", bytes(4))
    with pytest.raises(ModelMissing, match=r"'other': not installed; installed: .*tiny"):
        find_exact("other", old.fingerprint)


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
        CODECS.describe(path)


def test_refuses_weights_that_do_not_fit(tmp_path: Path, cache: Path) -> None:
    blob = (cache / "models/tiny.safetensors").read_bytes()
    other = blob.replace(b'\\"width\\": 24', b'\\"width\\": 32')
    assert other != blob
    path = tmp_path / "other.safetensors"
    path.write_bytes(other)
    with pytest.raises(ModelInvalid, match="do not fit"):
        load_torch_codec(CODECS.describe(path))


def test_a_file_is_hashed_once(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(shutil.copy(cache / "models/tiny.safetensors", tmp_path / "copy.safetensors"))
    hashed, sha256 = [], hashlib.sha256

    def counted(blob: memoryview) -> Any:
        hashed.append(len(blob))
        return sha256(blob)

    monkeypatch.setattr(hashlib, "sha256", counted)
    for _ in range(2):
        model = CODECS.describe(path)
        assert model.sha256.startswith(model.fingerprint.hex())
        CODECS.load(model)
    assert hashed == [path.stat().st_size]


def test_refuses_unknown_config_keys(tmp_path: Path, cache: Path) -> None:
    blob = (cache / "models/tiny.safetensors").read_bytes()
    path = tmp_path / "other.safetensors"
    path.write_bytes(blob.replace(b'\\"width\\"', b'\\"wodth\\"'))
    with pytest.raises(ModelInvalid, match="wodth"):
        load_torch_codec(CODECS.describe(path))


def test_what_is_no_model_hides_nothing(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    good = (cache / "models/tiny.safetensors").read_bytes()
    (folder / "good.safetensors").write_bytes(good)
    (folder / "folder.safetensors").mkdir()
    (folder / "dangling.safetensors").symlink_to(tmp_path / "nowhere")
    (folder / "zero.safetensors").write_bytes(
        good.replace(b'\\"samples_per_frame\\": 80', b'\\"samples_per_frame\\": 00').replace(
            b'\\"n_channels\\": 1', b'\\"n_channels\\": 0'
        )
    )
    monkeypatch.setenv("NCODEC_CACHE", str(tmp_path))
    bad: list[ModelInvalid] = []
    assert "tiny" in {model.model_id for model in installed(bad.append)}
    assert len(bad) == 3
    assert find("tiny").path.parent == folder
