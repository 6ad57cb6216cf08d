"""Mimi's checkpoints: two layouts of the same weights, and what is refused by name."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from ncodec.errors import ModelInvalid
from ncodec.hub.importers import recognise
from ncodec.hub.importers.base import Converted
from ncodec.hub.importers.mimi import convert
from ncodec.models.mimi import MIMI, Mimi

WIDTH, HEADS = MIMI.width, MIMI.n_heads
SHAPES_IN_LAYER = {
    "input_layernorm.weight": (512,),
    "input_layernorm.bias": (512,),
    "post_attention_layernorm.weight": (512,),
    "post_attention_layernorm.bias": (512,),
    "self_attn.q_proj.weight": (512, 512),
    "self_attn.k_proj.weight": (512, 512),
    "self_attn.v_proj.weight": (512, 512),
    "self_attn.o_proj.weight": (512, 512),
    "mlp.fc1.weight": (2048, 512),
    "mlp.fc2.weight": (512, 2048),
    "self_attn_layer_scale.scale": (512,),
    "mlp_layer_scale.scale": (512,),
}
CONFIG: dict[str, Any] = {
    "model_type": "mimi", "sampling_rate": 24000, "frame_rate": 12.5, "num_filters": 64,
    "upsampling_ratios": [8, 6, 5, 4], "hidden_size": 512, "sliding_window": 250,
    "rope_theta": 10000.0, "num_quantizers": 32, "codebook_size": 2048, "hidden_act": "gelu",
}  # fmt: skip


def shapes() -> dict[str, tuple[int, ...]]:
    """The tensors of kyutai/mimi, as transformers saves them."""
    found: dict[str, tuple[int, ...]] = {}

    def add(name: str, *shape: int, is_transposed: bool = False) -> None:
        found[f"{name}.weight"] = shape
        found[f"{name}.bias"] = (shape[1 if is_transposed else 0],)

    width = 64
    add("encoder.layers.0.conv", width, 1, 7)
    for level, stride in enumerate((4, 5, 6, 8)):
        add(f"encoder.layers.{3 * level + 1}.block.1.conv", width // 2, width, 3)
        add(f"encoder.layers.{3 * level + 1}.block.3.conv", width, width // 2, 1)
        add(f"encoder.layers.{3 * level + 3}.conv", 2 * width, width, 2 * stride)
        width *= 2
    add("encoder.layers.14.conv", 512, width, 3)
    add("decoder.layers.0.conv", width, 512, 7)
    for level, stride in enumerate((8, 6, 5, 4)):
        up = f"decoder.layers.{3 * level + 2}.conv"
        add(up, width, width // 2, 2 * stride, is_transposed=True)
        width //= 2
        add(f"decoder.layers.{3 * level + 3}.block.1.conv", width // 2, width, 3)
        add(f"decoder.layers.{3 * level + 3}.block.3.conv", width, width // 2, 1)
    add("decoder.layers.14.conv", 1, width, 3)
    for side in ("encoder", "decoder"):
        for layer in range(8):
            stem = f"{side}_transformer.layers.{layer}"
            found |= {f"{stem}.{name}": shape for name, shape in SHAPES_IN_LAYER.items()}
    found |= {"downsample.conv.weight": (512, 512, 4), "upsample.conv.weight": (512, 1, 4)}
    for kind, count in (("semantic", 1), ("acoustic", 31)):
        stem = f"quantizer.{kind}_residual_vector_quantizer"
        found[f"{stem}.input_proj.weight"] = (256, 512, 1)
        found[f"{stem}.output_proj.weight"] = (512, 256, 1)
        for q in range(count):
            found[f"{stem}.layers.{q}.codebook.embed_sum"] = (2048, 256)
            found[f"{stem}.layers.{q}.codebook.cluster_usage"] = (2048,)
            found[f"{stem}.layers.{q}.codebook.initialized"] = (1,)
    return found


def zeros() -> dict[str, Tensor]:
    """A checkpoint that takes no memory."""
    return {name: torch.zeros(1).expand(shape) for name, shape in shapes().items()}


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    torch.manual_seed(3)
    return {name: torch.randn(shape) for name, shape in shapes().items()}


def in_turn(rows: Tensor) -> Tensor:
    """Let real and imaginary parts of each head take turns, as the authors' code has them."""
    return rows.view(HEADS, 2, -1, WIDTH).transpose(1, 2).reshape(WIDTH, WIDTH)


AUTHORS = [
    (r"quantizer\.semantic_residual_vector_quantizer", "quantizer.rvq_first"),
    (r"quantizer\.acoustic_residual_vector_quantizer", "quantizer.rvq_rest"),
    (r"(rvq_\w+)\.layers\.(\d+)\.codebook\.", r"\1.vq.layers.\2._codebook."),
    ("embed_sum", "embedding_sum"),
    (r"\.initialized", "._initialized"),
    (r"_transformer\.layers", "_transformer.transformer.layers"),
    ("input_layernorm", "norm1"),
    ("post_attention_layernorm", "norm2"),
    (r"mlp\.fc", "linear"),
    ("self_attn_layer_scale", "layer_scale_1"),
    ("mlp_layer_scale", "layer_scale_2"),
    (r"^downsample\.conv", "downsample.conv.conv.conv"),
    (r"^upsample\.conv", "upsample.convtr.convtr.convtr"),
    (r"^decoder\.layers\.(2|5|8|11)\.conv", r"decoder.model.\1.convtr.convtr"),
    (r"^(encoder|decoder)\.layers\.(.*)conv\.(weight|bias)", r"\1.model.\2conv.conv.\3"),
]


def as_the_authors(state: Mapping[str, Tensor], enter: str, leave: str) -> dict[str, Tensor]:
    """The same weights as in moshi; `enter` and `leave` are what versions call two of them."""
    found = {}
    for name, tensor in state.items():
        if "k_proj" in name or "v_proj" in name:
            continue
        theirs = name.replace("self_attn.o_proj", f"self_attn.{leave}")
        for pattern, instead in AUTHORS:
            theirs = re.sub(pattern, instead, theirs)
        if "q_proj" in name:
            keys, values = (state[name.replace("q_proj", f"{part}_proj")] for part in "kv")
            tensor = torch.cat([in_turn(tensor), in_turn(keys), values])
            theirs = theirs.replace("q_proj.weight", enter)
        found[theirs] = tensor
    return found


def converted(state: Mapping[str, Tensor], config: Mapping[str, Any] | None = None) -> Converted:
    found = convert(state, config)
    assert found is not None
    return found


def test_the_published_checkpoint_has_as_many_numbers() -> None:
    sizes = [torch.Size(shape).numel() for shape in shapes().values()]
    assert (len(sizes), sum(sizes)) == (350, 96_151_393)


@pytest.mark.parametrize(
    ("enter", "leave"), [("in_proj_weight", "out_proj"), ("in_projs.0.weight", "out_projs.0")]
)
def test_both_layouts_give_the_same_model(state: dict[str, Tensor], enter: str, leave: str) -> None:
    ours, authors = converted(state, CONFIG), as_the_authors(state, enter, leave)
    assert len(authors) == 318  # as many as moshi's own model has
    assert {"decoder.model.2.convtr.convtr.weight", "encoder.model.1.block.3.conv.conv.bias"} < {
        *authors
    }
    theirs = converted(authors)
    with torch.device("meta"):
        wanted = Mimi(MIMI).state_dict()
    assert {name: each.shape for name, each in ours.tensors.items()} == {
        name: each.shape for name, each in wanted.items()
    }
    assert ours.tensors.keys() == theirs.tensors.keys()
    for name, tensor in ours.tensors.items():
        assert torch.equal(tensor, theirs.tensors[name]), name


def test_codes_are_sums_over_counts(state: dict[str, Tensor]) -> None:
    codebooks = converted(state).tensors["quantiser.codebooks"]
    stem = "quantizer.acoustic_residual_vector_quantizer.layers.4.codebook"
    counts = state[f"{stem}.cluster_usage"]
    assert (counts < 0).any()  # and there the least is taken
    wanted = state[f"{stem}.embed_sum"] / counts.clamp(min=1e-5)[:, None]
    assert torch.equal(codebooks[5, :, 256:], wanted)
    assert not codebooks[5, :, :256].any()


def test_other_checkpoints_are_not_its() -> None:
    assert convert({}, None) is None
    assert convert({"encoder.layers.0.conv.weight": torch.ones(1)}, {"model_type": "mimi"}) is None
    assert convert(zeros(), {"model_type": "moshi"}) is None


def test_a_folder_is_recognised(tmp_path: Path) -> None:
    name = "encoder_transformer.layers.0.self_attn.q_proj.weight"
    other = "quantizer.semantic_residual_vector_quantizer.input_proj.weight"
    save_file({each: torch.zeros(shapes()[each]) for each in (name, other)},
              tmp_path / "model.safetensors")  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    with pytest.raises(ModelInvalid, match=r"model\.safetensors: Mimi: missing .* and \d+ more$"):
        recognise(tmp_path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("sampling_rate", 16000),
        ("frame_rate", 25.0),
        ("num_filters", 32),
        ("upsampling_ratios", [8, 5, 4, 2]),
        ("pad_mode", "reflect"),
        ("use_causal_conv", False),
        ("use_conv_shortcut", True),
        ("sliding_window", 125),
        ("rope_theta", 1e6),
        ("rope_parameters", {"rope_theta": 500.0, "rope_type": "default"}),
        ("hidden_act", "gelu_new"),
        ("num_key_value_heads", 2),
        ("attention_bias", True),
        ("num_quantizers", 8),
        ("num_semantic_quantizers", 2),
    ],
)
def test_refuses_other_sizes(key: str, value: object) -> None:
    named = "rope_theta" if key == "rope_parameters" else key
    with pytest.raises(ModelInvalid, match=f"^Mimi: config.json: {named} is "):
        convert(zeros(), {**CONFIG, key: value})


def test_refuses_stretched_positions() -> None:
    config = {**CONFIG, "rope_parameters": {"rope_theta": 10000.0, "rope_type": "yarn"}}
    with pytest.raises(ModelInvalid, match="config.json: rope_type is 'yarn'"):
        convert(zeros(), config)


SEMANTIC = "quantizer.semantic_residual_vector_quantizer"


@pytest.mark.parametrize(
    ("name", "tensor", "said"),
    [
        ("downsample.conv.weight", None, "missing encoder.down.weight$"),
        ("downsample.conv.weight", torch.zeros(512, 512, 2), r"encoder.down.weight has shape"),
        ("upsample.conv.weight", torch.zeros(512, 1, 2), r"decoder.up.weight has shape"),
        ("decoder.layers.2.conv.weight", torch.zeros(4, 2, 3), r"layers.2.conv.weight has shape"),
        ("encoder.layers.3.conv.bias", torch.zeros(2), "encoder.convolutions.layers.3.bias has"),
        ("oddity", torch.zeros(1), "unexpected oddity$"),
        (f"{SEMANTIC}.oddity", torch.zeros(1), "unexpected quantizer.semantic.oddity$"),
        (f"{SEMANTIC}.input_proj.weight", torch.zeros(256, 512), "missing encoder.leave.semantic"),
        (f"{SEMANTIC}.layers.0.codebook.embed_sum", None, "missing codebooks.0.sums$"),
        (f"{SEMANTIC}.layers.40.codebook.embed_sum", torch.zeros(1), "unexpected codebooks.40"),
        ("encoder_transformer.layers.8.mlp.fc1.weight", torch.zeros(1), "layers.8.widen.weight$"),
        (
            "encoder_transformer.layers.0.self_attn.in_proj_weight",
            torch.zeros(3, 512),
            r"self_attn.in_proj_weight has shape \[3, 512\], expected \[1536, 512\]",
        ),
        (
            "decoder_transformer.layers.7.mlp_layer_scale.scale",
            torch.full((512,), torch.nan),
            "layers.7.inside_scale has values that are not finite",
        ),
        ("upsample.conv.weight", torch.zeros(512, 1, 4).int(), "upsample.conv.weight is torch.int"),
    ],
)
def test_refuses_tensors_that_do_not_fit(name: str, tensor: Tensor | None, said: str) -> None:
    changed = {**zeros(), name: tensor}
    with pytest.raises(ModelInvalid, match=said) as info:
        convert({key: each for key, each in changed.items() if each is not None}, None)
    assert "\n" not in str(info.value)
