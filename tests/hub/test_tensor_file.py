""".safetensors files as mapped arrays."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ncodec.errors import ModelInvalid
from ncodec.hub.tensor_file import TensorFile, read_header

GOOD = {"dtype": "I8", "shape": [2, 3], "data_offsets": [0, 6]}
TYPES = (torch.float32, torch.float16, torch.bfloat16, torch.int8, torch.int32, torch.int64)


def opened(path: Path) -> TensorFile:
    return TensorFile(path, read_header(path)[1])


def write(path: Path, header: Any, n_bytes: int) -> None:
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(n_bytes))


@pytest.mark.quick
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (2, 0, 3)])
def test_tensors_of_every_type_and_shape(shape: tuple[int, ...], tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    tensors = {str(kind): (torch.randn(shape) * 50).to(kind) for kind in TYPES}
    save_file(tensors, path, {"k": "v"})
    file = opened(path)
    assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    arrays = file.arrays()
    assert arrays.keys() == tensors.keys()
    for name, tensor in tensors.items():
        wanted = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
        assert arrays[name].dtype == wanted.numpy().dtype
        assert np.array_equal(arrays[name], wanted.numpy())
        assert tensor.dtype == torch.bfloat16 or not arrays[name].flags.writeable


def test_tensors_anywhere_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    for pad in range(4):  # of four places, three are not aligned
        four = {"dtype": "F32", "shape": [1], "data_offsets": [6, 10]}
        write(path, {"__metadata__": {"k": pad * "v"}, "one": GOOD, "four": four}, 10)
        arrays = opened(path).arrays()
        assert list(arrays) == ["one", "four"]
        assert all(array.flags.aligned for array in arrays.values())


@pytest.mark.parametrize(
    ("header", "n_bytes", "said"),
    [
        ({"a": GOOD}, 5, "tensor a: ends at"),
        ({"a": GOOD}, 7, "its tensors end at"),
        ({"a": {**GOOD, "data_offsets": [1, 7]}}, 7, "tensor a: does not follow the one before"),
        ({"a": {**GOOD, "data_offsets": [0, 7]}}, 7, "tensor a: does not follow the one before"),
        ({"a": GOOD, "b": GOOD}, 6, "tensor b: does not follow the one before"),
        ({"a": {**GOOD, "shape": [-2, -3]}}, 6, r"tensor a: shape \[-2, -3\]"),
        ({"a": {**GOOD, "shape": [2.0, 3]}}, 6, "tensor a: shape"),
        ({"a": {**GOOD, "shape": [1 << 62, 1 << 62]}}, 6, "does not follow the one before"),
        ({"a": {**GOOD, "shape": [1] * 99 + [6]}}, 6, "damaged"),
        ({"a": {**GOOD, "shape": [0, 1 << 70], "data_offsets": [0, 0]}}, 0, "damaged"),
        ({"a": {**GOOD, "shape": 6}}, 6, "damaged"),
        ({"a": {**GOOD, "dtype": "F64"}}, 6, "tensor a: type F64, expected F32, F16, BF16, I8"),
        ({"a": {**GOOD, "dtype": ["I8"]}}, 6, "damaged"),
        ({"a": {**GOOD, "data_offsets": [0, "6"]}}, 6, "does not follow the one before"),
        ({"a": GOOD, "b": {**GOOD, "data_offsets": ["x"]}}, 6, "damaged"),
        ({"a": {"dtype": "I8"}}, 6, "damaged model file"),
        ({"a": 3}, 6, "damaged model file"),
        ([], 0, "damaged model file"),
    ],
)
def test_damage_is_found(header: Any, n_bytes: int, said: str, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write(path, header, n_bytes)
    with pytest.raises(ModelInvalid, match=f"^{path}: .*{said}"):
        opened(path).arrays()


def test_a_file_that_has_changed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write(path, {"a": GOOD}, 6)
    stamp = read_header(path)[1]
    write(path, {"a": GOOD, "b": {**GOOD, "data_offsets": [6, 12]}}, 12)
    with pytest.raises(ModelInvalid, match="changed while it was read"):
        TensorFile(path, stamp)
