"""The language model gives the very tables of the reference, and its checkpoints are converted."""

from pathlib import Path

import numpy as np
import pytest
import torch
from reference_encodec import reference, reference_lm

from ncodec.errors import ModelInvalid
from ncodec.hub.importers.encodec_lm import convert
from ncodec.hub.language_models import LANGUAGE_MODELS, find_for, installed, load, save
from ncodec.models.encodec_lm import PRESETS, EncodecLm, LmConfig, LmContext, check, tables

TINY = LmConfig(n_codebooks=3, past_frames=5, codebook_size=16, width=8, hidden=12, n_layers=2,
                n_heads=2)  # fmt: skip


def tiny(seed: int = 0) -> EncodecLm:
    torch.manual_seed(seed)
    return EncodecLm(TINY).eval().requires_grad_(False)


def reference_tables(lm, codes: np.ndarray):
    """Yield the reference's tables, [Q, K], of each frame of codes [Q, F] as it codes them."""
    build = reference().quantization.ac.build_stable_quantized_cdf
    n_q = len(codes)
    entries, states, offset = torch.zeros(1, n_q, 1, dtype=torch.long), None, 0
    for frame in codes.T.copy():
        with torch.no_grad():
            shares, states, offset = lm(entries, states, offset)
        yield np.stack([build(shares[0, :, q, 0], 24, check=False).numpy() for q in range(n_q)])
        entries = 1 + torch.from_numpy(frame).view(1, n_q, 1)


@pytest.mark.parametrize(
    ("name", "n_q", "n_frames"),
    [
        ("encodec_24khz", 1, 300),  # past the context of 262
        ("encodec_24khz", 32, 20),
        pytest.param("encodec_48khz", 1, 560, marks=pytest.mark.slow),  # of 525
        ("encodec_48khz", 16, 20),
    ],
)
def test_tables_are_those_of_the_reference(name: str, n_q: int, n_frames: int) -> None:
    theirs = reference_lm(name, seed=1)
    converted = convert(theirs.state_dict())
    assert converted is not None
    assert (converted.model_id, converted.config) == (name, PRESETS[name])
    context = LmContext(EncodecLm.from_tensors(converted.config, converted.tensors))
    codes = np.random.default_rng(2).integers(0, 1024, (n_q, n_frames))
    last = None
    for number, expected in enumerate(reference_tables(theirs, codes)):
        found = context.tables(last, n_q)
        assert found.dtype == np.int64
        assert np.array_equal(found, expected), number
        last = codes[:, number].copy()


@pytest.mark.parametrize("sharpness", [0.0, 1.0, 5.0, 40.0])
def test_tables_of_flat_and_of_steep_probabilities(sharpness: float) -> None:
    build = reference().quantization.ac.build_stable_quantized_cdf
    torch.manual_seed(3)
    shares = torch.softmax(sharpness * torch.randn(1024, 20), 0)
    expected = [build(shares[:, q], 24, check=False).numpy() for q in range(20)]
    assert np.array_equal(tables(shares), np.stack(expected))


def test_a_table_has_room_for_every_code() -> None:
    context = LmContext(tiny())
    table = context.tables(None, 3)
    assert table.shape == (3, 16)
    assert np.diff(table, axis=1, prepend=0).min() >= 2
    assert table.max() <= 1 << 24


def test_what_came_before_matters_up_to_the_context() -> None:
    rng = np.random.default_rng(4)
    codes = rng.integers(0, 16, (40, 3))
    other = codes.copy()
    other[0] = (other[0] + 1) % 16
    first, second = LmContext(tiny()), LmContext(tiny())
    same = [np.array_equal(first.tables(a, 3), second.tables(b, 3))
            for a, b in zip(codes, other, strict=True)]  # fmt: skip
    assert not any(same[:5])
    assert all(same[-20:])  # two layers of 5 frames


def test_probabilities_that_are_no_numbers_are_refused() -> None:
    lm = tiny()
    lm.head_biases[1, 3] = torch.inf
    with pytest.raises(ModelInvalid, match="not numbers"):
        LmContext(lm).tables(None, 3)


def test_the_layout_is_that_of_the_module() -> None:
    lm = tiny()
    assert {name: tuple(t.shape) for name, t in lm.state_dict().items()} == TINY.layout()
    check(TINY, lm.state_dict())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"n_codebooks": 0, "past_frames": 5}, "n_codebooks is 0, expected a positive integer"),
        ({"n_codebooks": True, "past_frames": 5}, "n_codebooks is True"),
        ({"n_codebooks": 2}, "past_frames"),
        ({"n_codebooks": 2, "past_frames": 5, "depth": 3}, "depth"),
        ({"n_codebooks": 2, "past_frames": 5, "n_heads": 7}, "200 cannot be shared by 7 heads"),
    ],
)
def test_configs_that_are_refused(values: dict[str, int], message: str) -> None:
    with pytest.raises(ModelInvalid, match=message):
        LmConfig.from_dict(values)
    assert LmConfig.from_dict(TINY.to_dict()) == TINY


def state(name: str = "encodec_48khz") -> dict[str, torch.Tensor]:
    """The checkpoint of a language model by the names of its authors, of zeros on no memory."""
    config, found = PRESETS[name], {}
    renamed = {"attention": "self_attn", "attention_norm": "norm1", "grow": "linear1",
               "shrink": "linear2", "hidden_norm": "norm2"}  # fmt: skip
    for ours, shape in config.layout().items():
        zeros = torch.zeros(1).expand(shape)
        if ours.startswith("layers."):
            _, number, part, rest = ours.split(".", 3)
            found[f"transformer.layers.{number}.{renamed[part]}.{rest}"] = zeros
        elif ours.startswith("norm."):
            found[f"transformer.norm_in.{ours[5:]}"] = zeros
        else:
            theirs = {"embeddings": "emb.{}.weight", "head_weights": "linears.{}.weight",
                      "head_biases": "linears.{}.bias"}[ours]  # fmt: skip
            found |= {theirs.format(q): zeros[q] for q in range(config.n_codebooks)}
    return found


def test_other_checkpoints_are_left_alone() -> None:
    assert convert({"encoder.model.0.conv.weight": torch.zeros(1)}) is None
    assert convert({}) is None


def test_the_checkpoint_of_zeros_is_whole() -> None:
    converted = convert(state())
    assert converted is not None
    check(converted.config, converted.tensors)
    assert all(tensor.dtype == torch.float32 for tensor in converted.tensors.values())


@pytest.mark.parametrize(
    ("key", "tensor", "message"),
    [
        ("linears.3.bias", None, "missing linears.3.bias"),
        ("emb.7.weight", None, "15 tensors emb.*.weight, expected 32 or 16"),
        ("emb.16.weight", torch.zeros(1), "17 tensors emb.*.weight, expected 32 or 16"),
        ("extra", torch.zeros(1), "unexpected extra"),
        ("linears.0.bias", torch.zeros(9), "linears.0.bias has shape [9], expected [1024]"),
        ("linears.0.bias", torch.zeros(1024).long(), "linears.0.bias is torch.int64"),
        ("linears.0.bias", torch.full((1024,), torch.nan), "linears.0.bias has values that are"),
    ],
)
def test_checkpoints_that_are_refused(key: str, tensor: torch.Tensor | None, message: str) -> None:
    damaged = state()
    if tensor is None:
        del damaged[key]
    else:
        damaged[key] = tensor
    with pytest.raises(ModelInvalid) as caught:
        convert(damaged)
    assert message in str(caught.value)


def test_a_file_gives_the_model_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NCODEC_CACHE", str(tmp_path))
    assert find_for("encodec_24khz") is None
    lm = tiny()
    path = tmp_path / "models" / LANGUAGE_MODELS.folder / "some.safetensors"
    save(path, "encodec_24khz", TINY, lm.state_dict(), {"licence": "MIT"})
    file = LANGUAGE_MODELS.describe(path)
    assert [file] == installed()
    assert file == find_for("encodec_24khz")
    assert find_for("encodec_48khz") is None
    assert LmConfig.from_dict(file.config) == TINY
    assert file.facts == {"licence": "MIT"}
    found = load(file)
    assert not found.training
    for name, tensor in lm.state_dict().items():
        assert torch.equal(found.state_dict()[name], tensor)


def test_files_that_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "some.safetensors"
    save(path, "encodec_24khz", TINY, tiny().state_dict(), {})
    whole = path.read_bytes()
    cases = {
        b'\\"width\\": 8': (b'\\"width\\": 9', "9 cannot be shared by 2 heads"),
        b'\\"hidden\\": 12': (
            b'\\"hidden\\": 13',
            r"grow.weight is \[12, 8\] .*expected \[13, 8\]",
        ),
        b'\\"n_layers\\": 2': (b'\\"n_layers\\": 3', "tensor layers.2.attention.* is missing"),
        b"ncodec-ecdc-lm": (b"ncodec-ecdc-xx", "not a model file of ncodec"),
    }
    for old, (new, message) in cases.items():
        if old in whole:
            path.write_bytes(whole.replace(old, new))
            with pytest.raises(ModelInvalid, match=message) as caught:
                load(LANGUAGE_MODELS.describe(path))
            assert str(path) in str(caught.value)
    path.write_bytes(whole[:-7])
    with pytest.raises(ModelInvalid, match=str(path)):
        load(LANGUAGE_MODELS.describe(path))
    wrong = tiny().state_dict() | {"head_biases": torch.full((3, 16), torch.nan)}
    with pytest.raises(ModelInvalid, match="head_biases has numbers that are not finite"):
        save(path, "encodec_24khz", TINY, wrong, {})
    with pytest.raises(ModelInvalid, match="tensor extra is unknown"):
        save(path, "encodec_24khz", TINY, tiny().state_dict() | {"extra": torch.zeros(1)}, {})
