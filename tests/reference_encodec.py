"""The `encodec` package of its authors, as a reference."""

import importlib
import io
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from optional_torchaudio import torchaudio_or_stub

Part = tuple[NDArray[np.int64], float | None]  # of a segment: codes [Q, F], scale


def reference() -> Any:
    """Return the package, which the test extra has, with its modules loaded."""
    if "encodec" not in sys.modules:
        with torchaudio_or_stub():  # which what is compared does not use
            importlib.import_module("encodec.model")
    for name in ("binary", "compress", "quantization.ac"):
        importlib.import_module(f"encodec.{name}")
    return sys.modules["encodec"]


def _compress() -> Any:
    """The module, which a function of the same name hides in the package."""
    reference()
    return sys.modules["encodec.compress"]


class StubCodec:
    """In place of a codec in the reference's compress and decompress: gives codes, takes codes.

    parts  (codes [Q, F], scale or None) of each segment; what was decoded comes to `decoded`
    """

    bits_per_codebook = 10

    def __init__(self, name: str, n_samples: int, parts: Sequence[Part] = (), lm: Any = None):
        import torch

        in_segments = name == "encodec_48khz"
        self.name = name
        self.sample_rate = 48000 if in_segments else 24000
        self.frame_rate = self.sample_rate // 320
        self.normalize = in_segments
        self.segment_length = 48000 if in_segments else None
        self.segment_stride = 47520 if in_segments else None
        self.wav = torch.zeros(2 if in_segments else 1, n_samples)
        self.parts = parts
        self.decoded: list[Part] = []
        self._lm = lm

    def to(self, device: str) -> "StubCodec":
        return self

    def get_lm_model(self) -> Any:
        return self._lm

    def encode(self, wav: Any) -> list[tuple[Any, Any]]:
        import torch

        return [
            (torch.from_numpy(codes)[None], None if scale is None else torch.tensor([[scale]]))
            for codes, scale in self.parts
        ]

    def decode(self, frames: list[tuple[Any, Any]]) -> Any:
        for codes, scale in frames:
            self.decoded.append((codes[0].numpy(), None if scale is None else float(scale)))
        return self.wav[None]


def reference_file(name: str, n_samples: int, parts: Sequence[Part], lm: Any = None) -> bytes:
    """Return the file that the reference writes of these codes."""
    codec = StubCodec(name, n_samples, parts, lm)
    sink = io.BytesIO()
    _compress().compress_to_file(codec, codec.wav, sink, use_lm=lm is not None)
    return sink.getvalue()


def reference_codes(name: str, n_samples: int, content: bytes, lm: Any = None) -> list[Part]:
    """Return the codes that the reference reads from a file."""
    codec = StubCodec(name, n_samples, lm=lm)
    compress = _compress()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(compress.MODELS, name, lambda: codec)
        compress.decompress_from_file(io.BytesIO(content))
    return codec.decoded


def reference_lm(name: str, seed: int) -> Any:
    """Return a language model of the published size, of random weights and clear preferences."""
    import torch

    n_codebooks, frame_rate_hz = (16, 150) if name == "encodec_48khz" else (32, 75)
    torch.manual_seed(seed)
    lm = reference().model.LMModel(
        n_codebooks, 1024, num_layers=5, dim=200, past_context=int(3.5 * frame_rate_hz)
    )
    with torch.no_grad():
        for linear in lm.linears:
            linear.weight *= 4
    return lm.eval()
