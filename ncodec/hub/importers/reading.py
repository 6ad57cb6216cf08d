"""Checkpoint files as tensors, read without running any code of theirs."""

import json
import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ncodec.errors import ModelInvalid

MAX_BYTES = 4 << 30  # of a file, and of its tensors in memory
_MAX_CONFIG_BYTES = 1 << 20
_WEIGHT_NAMES = ("model.safetensors", "pytorch_model.bin", "weights.safetensors")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The content of a checkpoint file, or of a folder that holds one."""

    weights: Path  # the file that the tensors are from
    state: dict[str, Tensor]
    config: dict[str, Any] | None  # what config.json says, or the file itself; None without one


def weights_of(path: Path) -> Path:
    """Return the file of weights in a folder, or the path of a file. Raises ModelInvalid."""
    if not path.is_dir():
        return path
    for name in _WEIGHT_NAMES:
        if (path / name).is_file():
            return path / name
    raise ModelInvalid(f"{path}: none of {', '.join(_WEIGHT_NAMES)} is in this folder")


def is_safetensors(path: Path) -> bool:
    """Whether a file starts as a .safetensors file does, whatever its suffix. Raises OSError."""
    with path.open("rb") as stream:
        start = stream.read(9)
    return len(start) == 9 and start[8:] == b"{" and start[5:8] == b"\0\0\0"


def read(path: Path) -> Checkpoint:
    """Read a file of torch.save or a .safetensors file, or a folder with one and config.json.

    Raises ModelInvalid for what is neither, is over `MAX_BYTES`, or holds more than tensors.
    """
    weights = weights_of(path)
    size = weights.stat().st_size
    if size > MAX_BYTES:
        raise ModelInvalid(f"{weights}: {size} bytes, the limit is {MAX_BYTES}")
    if is_safetensors(weights):
        state, told = _read_safetensors(weights), None
    else:
        state, told = _read_pickle(weights)
    config = _read_config(path / "config.json") if path.is_dir() else None
    return Checkpoint(weights, state, told if config is None else config)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise ModelInvalid(f"{path}: damaged .safetensors file: {error}") from None


def _read_pickle(path: Path) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    """Return the tensors, and the arguments of their model where the file tells them."""
    _check_pickle(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # advice to whoever wrote the file
            content: object = torch.load(path, map_location="cpu", weights_only=True)
    except (MemoryError, OSError):
        raise
    except Exception as error:  # a damaged pickle can raise anything
        raise ModelInvalid(f"{path}: {_refusal(error)}") from None
    return _state_of(path, content), _arguments_of(content)


def _check_pickle(path: Path) -> None:
    """Raise ModelInvalid for what torch.load need not see."""
    with path.open("rb") as stream:
        start = stream.read(4)
    if start.startswith(b"PK"):
        try:
            with zipfile.ZipFile(path) as archive:
                unpacked = sum(entry.file_size for entry in archive.infolist())
        except (zipfile.BadZipFile, ValueError, OverflowError) as error:
            raise ModelInvalid(f"{path}: damaged checkpoint: {error}") from None
        if unpacked > MAX_BYTES:
            raise ModelInvalid(f"{path}: {unpacked} bytes unpacked, the limit is {MAX_BYTES}")
    elif not start.startswith(b"\x80"):
        raise ModelInvalid(f"{path}: neither a file of torch.save nor a .safetensors file")


def _refusal(error: Exception) -> str:
    """Say why torch.load refused a file, without its advice to let the file run code."""
    found = re.search(r"GLOBAL (\S+)", str(error))
    if found:
        return f"holds {found[1]}, expected tensors only: nothing that may run code is read"
    first = (str(error).splitlines() or [""])[0]
    if "weights_only" in first.lower() or "weights only" in first.lower():
        first = "damaged, or holds more than tensors"
    return f"cannot be read as a file of torch.save: {first or type(error).__name__}"


def _state_of(path: Path, content: object) -> dict[str, Tensor]:
    """Return the state dict in what torch.load returned."""
    nested = content if isinstance(content, Mapping) else {}
    state = next(
        (state for name in ("model", "state_dict") if (state := _tensors(nested.get(name)))), {}
    )
    state = state or _tensors(content)
    if not state:
        keys = list(content)[:4] if isinstance(content, Mapping) else type(content).__name__
        raise ModelInvalid(f"{path}: not a dict of tensors, but {keys!r}"[:300])
    for name, tensor in state.items():
        plain = tensor.layout == torch.strided and tensor.device.type == "cpu"
        if not plain or tensor.is_quantized or tensor.is_nested:
            raise ModelInvalid(f"{path}: tensor {name} is not a plain array of numbers")
    n_bytes = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    if n_bytes > MAX_BYTES:
        raise ModelInvalid(f"{path}: tensors of {n_bytes} bytes, the limit is {MAX_BYTES}")
    return state


def _arguments_of(content: object) -> dict[str, Any] | None:
    """Return what torch.load found as "kwargs" in "metadata", as in the files of DAC's authors."""
    metadata = content.get("metadata") if isinstance(content, Mapping) else None
    arguments = metadata.get("kwargs") if isinstance(metadata, Mapping) else None
    if not isinstance(arguments, Mapping):
        return None
    return {name: value for name, value in arguments.items() if isinstance(name, str)}


def _tensors(content: object) -> dict[str, Tensor]:
    """Return what is a state dict, empty if it is none.

    What modules put into theirs in addition to tensors is left out: torch calls it `_extra_state`.
    """
    if not isinstance(content, Mapping) or not all(isinstance(name, str) for name in content):
        return {}
    state = {name: of for name, of in content.items() if not name.endswith("_extra_state")}
    if not all(isinstance(tensor, Tensor) for tensor in state.values()):
        return {}
    return {name: tensor.detach() for name, tensor in state.items()}


def _read_config(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    if path.stat().st_size > _MAX_CONFIG_BYTES:
        raise ModelInvalid(f"{path}: over {_MAX_CONFIG_BYTES} bytes")
    try:
        config: object = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelInvalid(f"{path}: is not JSON: {error}") from None
    if not isinstance(config, dict):
        raise ModelInvalid(f"{path}: expected a JSON object")
    return config
