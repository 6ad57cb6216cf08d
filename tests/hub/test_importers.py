"""Checkpoints of other projects: what is recognised, and what is refused."""

import json
import os
import pickle
import shutil
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ncodec.errors import ModelInvalid, OutputExists, UsageError
from ncodec.formats.ncx import Header
from ncodec.hub import codecs, importers
from ncodec.hub.cache import check_name
from ncodec.hub.importers import OwnModel, install, reading, recognise
from ncodec.hub.importers.base import Converted, check_tensors, fold_weight_norm, take
from ncodec.models.spectral import SpectralCodec
from ncodec.models.spectral_base import PRESETS

TINY = PRESETS["spectral-tiny"]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NCODEC_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def foreign(monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """The state of a checkpoint that only a converter of this test knows."""

    def convert(state: Mapping[str, Tensor], config: Mapping[str, Any] | None) -> Converted | None:
        if "theirs.quantiser.codebooks" not in state:
            return None
        if config and config["size"] != "tiny":
            raise ModelInvalid(f"size is {config['size']}")
        tensors = take(state, "theirs.")
        shapes = {name: tensor.shape for name, tensor in SpectralCodec(TINY).state_dict().items()}
        check_tensors(tensors, shapes, "theirs")
        return Converted("theirs", "spectral", TINY, tensors, {"licence": "CC0-1.0"})

    module = ModuleType("their_converter")
    module.convert = convert  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "their_converter", module)
    monkeypatch.setattr(importers, "CONVERTERS", ("their_converter",))
    torch.manual_seed(3)
    return {f"theirs.{name}": value for name, value in SpectralCodec(TINY).state_dict().items()}


def saved(content: object, name: str = "checkpoint.th", **how: Any) -> Path:
    path = Path(os.environ["NCODEC_CACHE"]).parent / name
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path, **how)
    return path


def with_weight_norm(module: nn.Module, *, old: bool) -> nn.Module:
    if old:
        return nn.utils.weight_norm(module)
    return nn.utils.parametrizations.weight_norm(module)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("old", [True, False])
@pytest.mark.parametrize("prefix", ["", "encoder.model.0.conv."])
@pytest.mark.parametrize(
    "make",
    [lambda: nn.Conv1d(7, 5, 3), lambda: nn.ConvTranspose1d(7, 5, 4), lambda: nn.Linear(6, 4)],
)
def test_weight_norm_is_folded(make: Callable[[], nn.Module], prefix: str, old: bool) -> None:
    torch.manual_seed(1)
    module = with_weight_norm(make(), old=old)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(1.7).add_(0.01)
    state = {prefix + name: tensor for name, tensor in module.state_dict().items()}
    folded = fold_weight_norm(state)
    assert set(folded) == {f"{prefix}weight", f"{prefix}bias"}
    module.eval()
    module(torch.zeros(1, 7 if "Conv" in type(module).__name__ else 6, 6)[..., :6])
    torch.testing.assert_close(folded[f"{prefix}weight"], module.weight, rtol=3e-7, atol=0)
    assert folded[f"{prefix}bias"] is state[f"{prefix}bias"]


def test_folding_is_exact() -> None:
    direction = torch.tensor([[2.0**60, 3.0, 4.0, -(2.0**60)], [0.0, 3.0, 0.0, 4.0]])
    folded = fold_weight_norm({"weight_v": direction, "weight_g": torch.tensor([[1.0], [10.0]])})
    half = 2**-0.5
    assert folded["weight"][1].tolist() == [0.0, 6.0, 0.0, 8.0]
    assert folded["weight"][0, 0] == torch.tensor(half)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"a.weight_g": torch.ones(2, 1)}, "a.weight_g: a.weight_v is missing"),
        ({"a.weight_v": torch.ones(2, 1)}, "a.weight_v: a.weight_g is missing"),
        (
            {"a.weight_g": torch.ones(1, 1), "a.weight_v": torch.ones(2, 3)},
            r"a.weight_g: shape \[1, 1\], expected \[2, 1\]",
        ),
        (
            {"a.weight_g": torch.ones(2, 1).int(), "a.weight_v": torch.ones(2, 3)},
            "a.weight_g: torch.int32, expected floating point",
        ),
        (
            {name: torch.ones(2, 1) for name in ("a.weight_g", "a.weight_v", "a.weight")},
            "a.weight_g: a.weight is there too",
        ),
    ],
)
def test_halves_that_do_not_fit(state: dict[str, Tensor], said: str) -> None:
    with pytest.raises(ModelInvalid, match=said):
        fold_weight_norm(state)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"a": None}, "^thing: missing a$"),
        ({name: torch.ones(1) for name in "vwxyz"}, "^thing: unexpected v, w, x and 2 more$"),
        ({"a": torch.ones(3, 2)}, r"a has shape \[3, 2\], expected \[2, 3\]$"),
        ({"a": torch.ones(2, 3).int()}, "a is torch.int32, expected floating point$"),
        ({"a": torch.full((2, 3), torch.nan)}, "a has values that are not finite$"),
        ({"a": torch.full((2, 3), torch.inf).double()}, "a has values that are not finite$"),
        (
            {"a": torch.full((2, 3), 1e300, dtype=torch.float64)},
            "a has values that are not finite$",
        ),
        ({"a": None, "c": torch.ones(1)}, "^thing: missing a; unexpected c$"),
    ],
)
def test_tensors_that_do_not_fit(change: dict[str, Tensor | None], said: str) -> None:
    good = {"a": torch.ones(2, 3), "b": torch.ones(1).half()}
    shapes = {"a": (2, 3), "b": [1]}
    check_tensors(good, shapes, "thing")
    changed = {name: tensor for name, tensor in (good | change).items() if tensor is not None}
    with pytest.raises(ModelInvalid, match=said):
        check_tensors(changed, shapes, "thing")


@pytest.mark.parametrize("form", ["zip", "legacy", "nested", "safetensors", "folder", "hf"])
def test_a_checkpoint_becomes_a_model(
    foreign: dict[str, Tensor], form: str, tmp_path: Path
) -> None:
    if form in ("zip", "legacy"):
        path = saved(foreign, _use_new_zipfile_serialization=form == "zip")
    elif form == "nested":
        parameters = {name: nn.Parameter(tensor) for name, tensor in foreign.items()}
        of_modules = {"theirs._extra_state": {"ready": True}}
        path = saved({"epoch": 3, "model": parameters | of_modules, "disc": {"w": torch.ones(1)}})
    elif form == "safetensors":
        path = tmp_path / "no.suffix"
        save_file(foreign, path)
    else:
        path = tmp_path / "folder"
        path.mkdir()
        (path / "config.json").write_text('{"size": "tiny"}')
        if form == "hf":
            saved(foreign, "folder/pytorch_model.bin")
        else:
            save_file(foreign, path / "weights.safetensors")
    found = recognise(path)
    assert (found.kind, found.model_id) == ("codec", "theirs")
    installed = install(found)
    assert installed == tmp_path / "cache" / "models" / "theirs.safetensors"
    model = codecs.find("theirs")
    assert model.facts == {"licence": "CC0-1.0"}
    for name, tensor in codecs.load_torch_codec(model).state_dict().items():
        assert torch.equal(tensor, foreign[f"theirs.{name}"])
    # The same whatever the file: files made with it can be decoded by whoever imported it.
    expected = tmp_path / "expected.safetensors"
    codec = SpectralCodec(TINY)
    codec.load_state_dict(take(foreign, "theirs."))
    codecs.save_codec(expected, "theirs", codec, {"licence": "CC0-1.0"}, torch.float32)
    assert installed.read_bytes() == expected.read_bytes()


def test_names(foreign: dict[str, Tensor], tmp_path: Path) -> None:
    found = recognise(saved(foreign))
    assert install(found, "mine").name == "mine.safetensors"
    assert codecs.find("mine").model_id == "mine"
    with pytest.raises(OutputExists):
        install(found, "mine")
    install(found, "mine", overwrite=True)
    with pytest.raises(UsageError, match="'spectral' is a model of the package"):
        install(found, "spectral")
    with pytest.raises(UsageError, match="expected 1 to 64 of A-Z"):
        install(found, "../mine")
    assert [path.name for path in tmp_path.rglob("*.safetensors")] == ["mine.safetensors"]


@pytest.mark.parametrize("name", ["a", "A_b.c-9", "x" * 64])
def test_a_good_name_fits_a_header(name: str) -> None:
    check_name(name)
    header = Header(
        architecture=1, model_id=name, model_fingerprint=b"abcd", sample_rate_hz=8000,
        n_channels=1, codebook_size=16, n_codebooks=2, samples_per_frame=80, entropy=1,
    )  # fmt: skip
    assert header.pack()


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".hidden", "-x", "a/b", "a\\b", "é", "x" * 65, "a\n"]
)
def test_a_bad_name(name: str) -> None:
    with pytest.raises(UsageError, match="expected 1 to 64"):
        check_name(name)


def test_a_converter_that_refuses_is_quoted(foreign: dict[str, Tensor], tmp_path: Path) -> None:
    foreign["theirs.quantiser.codebooks"][0, 0, 0] = torch.nan
    path = saved(foreign)
    with pytest.raises(ModelInvalid, match=f"{path}: theirs: quantiser.codebooks has values that"):
        recognise(path)
    (tmp_path / "config.json").write_text('{"size": "huge"}')
    path.rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelInvalid, match=r"pytorch_model.bin: size is huge"):
        recognise(tmp_path)


class Runs:
    """What a hostile checkpoint would run."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (os.environ["NCODEC_CACHE"],)


@pytest.mark.parametrize("zipped", [True, False])
def test_nothing_in_a_checkpoint_is_run(zipped: bool, tmp_path: Path) -> None:
    path = saved({"model": Runs()}, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ModelInvalid, match="holds [a-z]+.mkdir, expected tensors only") as info:
        recognise(path)
    assert "weights_only" not in str(info.value)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"some.weight": torch.ones(2), "b": torch.ones(1)}, "first tensors are some.weight, b$"),
        ({}, "not a dict of tensors, but "),
        ({"best_state": {"a": torch.ones(1)}}, r"not a dict of tensors, but \['best_state'\]"),
        (torch.ones(2), "not a dict of tensors, but 'Tensor'"),
        ({1: torch.ones(2)}, "not a dict of tensors"),
        ({"a": torch.ones(2).to_sparse()}, "tensor a is not a plain array"),
        ({"a": torch.ones(2, device="meta")}, "tensor a is not a plain array"),
        ({"a": torch.ones(1).expand(1 << 40)}, "tensors of 4398046511104 bytes, the limit is"),
        (nn.Linear(2, 2), "holds torch.nn.modules.linear.Linear"),
    ],
)
def test_what_is_no_checkpoint(content: object, said: str) -> None:
    with pytest.raises(ModelInvalid, match=said):
        recognise(saved(content))


def test_unknown_names_what_is_known() -> None:
    with pytest.raises(
        ModelInvalid, match="expected one of EnCodec, .*, DAC, SNAC, Mimi, model files"
    ):
        recognise(saved({"a": torch.ones(1)}))


@pytest.mark.parametrize("zipped", [True, False])
def test_cut_short(foreign: dict[str, Tensor], zipped: bool) -> None:
    path = saved(foreign, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    for size in (0, 1, 5, 100, 1000, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(ModelInvalid, match=str(path)):
            recognise(path)


def test_other_bytes() -> None:
    path = saved({"a": torch.ones(1)})
    for content in (b"<html>", b"PK\3\4 not really", b"\x80\x02.", pickle.dumps({"a": 1})):
        path.write_bytes(content)
        with pytest.raises(ModelInvalid, match=str(path)):
            recognise(path)


def test_what_unpacks_to_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved({"a": torch.ones(1)})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("checkpoint/data/0", bytes(100_000))
    assert path.stat().st_size < 1000
    monkeypatch.setattr(reading, "MAX_BYTES", 50_000)
    with pytest.raises(ModelInvalid, match="100000 bytes unpacked, the limit is 50000"):
        recognise(path)


def test_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved({"a": torch.ones(1)})
    monkeypatch.setattr(reading, "MAX_BYTES", 100)
    with pytest.raises(ModelInvalid, match="bytes, the limit is 100"):
        recognise(path)


def test_folders(tmp_path: Path) -> None:
    with pytest.raises(ModelInvalid, match=r"none of model.safetensors, .* is in this folder"):
        recognise(tmp_path)
    saved({"a": torch.ones(1)}, "pytorch_model.bin")
    for text, said in (("[]", "a JSON object"), ("{", "is not JSON"), (" " * 2**21, "over")):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(ModelInvalid, match=said):
            recognise(tmp_path)


def test_a_codec_of_ncodec_is_taken_as_it_is(cache: Path, tmp_path: Path) -> None:
    path = shutil.copy(cache / "models" / "tiny.safetensors", tmp_path / "other name")
    found = recognise(Path(path))
    assert isinstance(found, OwnModel)
    assert (found.kind, found.model_id) == ("codec", "tiny")
    assert install(found).read_bytes() == Path(path).read_bytes()
    assert codecs.find("tiny").path == tmp_path / "cache" / "models" / "tiny.safetensors"
    with pytest.raises(UsageError, match="keeps its name, 'tiny'"):
        install(found, "other")


def test_an_entropy_model_of_ncodec_is_taken_as_it_is(cache: Path, tmp_path: Path) -> None:
    path = cache / "models" / "entropy" / "modelled.safetensors"
    found = recognise(path)
    assert (found.kind, found.model_id) == ("entropy", "modelled")
    installed = install(found)
    assert installed == tmp_path / "cache" / "models" / "entropy" / "modelled.safetensors"
    assert installed.read_bytes() == path.read_bytes()


def test_damaged_models_of_ncodec(cache: Path, tmp_path: Path) -> None:
    whole = (cache / "models" / "tiny.safetensors").read_bytes()
    path = tmp_path / "bad.safetensors"
    for content, said in (
        (whole[:-1], "damaged model file"),
        (whole[:100], "header is not JSON"),
        (whole.replace(b'id\\": \\"tiny', b'id\\": \\"t/ny'), "damaged model file: name 't/ny'"),
        (whole.replace(b'\\"architecture', b'\\"archi.ecture'), "not a model file"),
    ):
        assert content != whole
        path.write_bytes(content)
        with pytest.raises(ModelInvalid, match=said):
            recognise(path)


def test_safetensors_of_others(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.ones(2)}, path, {"format": "pt"})
    with pytest.raises(ModelInvalid, match="first tensors are a$"):
        recognise(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelInvalid, match="damaged .safetensors file"):
        recognise(path)
    header = json.dumps({"__metadata__": 3}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(ModelInvalid, match="damaged .safetensors file"):
        recognise(path)
