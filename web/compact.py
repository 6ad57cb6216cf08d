"""Small model files for the player: only what decodes, most of it in 8 bits (SPECTRAL.md, 1).

Shapes: R rows, all axes of a tensor but the last.
"""

import json
from typing import TYPE_CHECKING, Any

from ncodec.hub.codecs import ModelFile
from ncodec.hub.model_files import mapped

if TYPE_CHECKING:
    from numpy.typing import NDArray

KEY = "ncodec-compact"
"""Of the metadata: no codec of the library, which could not encode with such a file."""
SCALE = ".row_scale"
"""What follows a tensor's name in that of its rows' scales."""
_ENCODER = "encoder"
_LARGEST = 127
_LEAST_ROW = 16  # numbers: of shorter rows the scales would be much of the file
_DELICATE = "decoder_skip"  # a small matrix right before the output: its rounding is 10 dB louder


def compact(model: ModelFile) -> bytes:
    """Return a .safetensors file of a codec's decoder, for the player. Raises ModelInvalid.

    Rows of matrices and the vectors of codebooks are 8-bit integers times the row's scale; all
    other numbers are in half precision. The decoded audio differs by -36 dB or less: docs/WEB.md
    has what was measured.
    """
    from safetensors.numpy import save

    tensors: dict[str, NDArray[Any]] = {}
    for name, array in mapped(model.path, model.stamp).arrays().items():
        if name.startswith(_ENCODER):
            continue
        is_matrix = array.ndim > 1 and array.shape[-1] >= _LEAST_ROW
        if is_matrix and not name.startswith(_DELICATE):
            tensors[name], tensors[name + SCALE] = quantised(array)
        else:
            tensors[name] = _halved(array)
    about = {
        "model_id": model.model_id,
        "architecture": model.architecture,
        "config": dict(model.config),
        "facts": dict(model.facts),
        "compact_of": model.sha256,
    }
    return save(tensors, {KEY: json.dumps(about, sort_keys=True)})


def quantised(array: "NDArray[Any]") -> "tuple[NDArray[Any], NDArray[Any]]":
    """Return int8 of an array's shape, and the float32 [R] to multiply its rows with."""
    import numpy as np

    values = array.astype(np.float32)
    scales = np.abs(values).max(-1, keepdims=True) / np.float32(_LARGEST)
    whole = np.rint(values / np.where(scales > 0, scales, 1))
    return whole.astype(np.int8), scales[..., 0]


def _halved(array: "NDArray[Any]") -> "NDArray[Any]":
    """Return an array in half precision, or as it is where that has no such numbers."""
    import numpy as np

    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    return half if np.isfinite(half).all() else array
