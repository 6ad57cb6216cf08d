"""The torchaudio door: the one place where torchaudio is imported, for mel scales in training.

torchaudio is never needed to encode, decode or inspect, and never used for files.
"""

import functools
import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch

from ncodec.errors import ModelError


def load_torchaudio() -> ModuleType:
    """Return torchaudio, with a stand-in for its compiled extension where that does not load.

    torchaudio up to 2.11 is built against one CUDA release and fails on import beside a torch
    built for another or for none. The extension serves file I/O, filters and alignment; the parts
    in pure PyTorch, `functional.resample` and `transforms.MelSpectrogram` among them, do without.

    Raises ModelError if torchaudio is absent, or cannot be imported even so.
    """
    try:
        return importlib.import_module("torchaudio")
    except (OSError, RuntimeError, ImportError) as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "torchaudio":
            raise ModelError(
                "training needs the package torchaudio for its mel spectrograms, and it is not "
                "installed: pip install torchaudio"
            ) from error
    _forget_torchaudio()
    extension = "torchaudio._extension"
    sys.modules[extension] = _extension_stand_in(extension)
    try:
        return importlib.import_module("torchaudio")
    except Exception as error:
        _forget_torchaudio()
        raise ModelError(
            f"training needs the package torchaudio, which does not load: {error}"
        ) from error


def _forget_torchaudio() -> None:
    """Remove what a failed import left behind, or the next one would find half a package."""
    for name in [name for name in sys.modules if name.split(".")[0] == "torchaudio"]:
        del sys.modules[name]


def _extension_stand_in(name: str) -> ModuleType:
    def fail_if_no_align(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def refuse(*_: Any, **__: Any) -> Any:
            raise RuntimeError(f"{function.__name__} needs torchaudio's compiled extension")

        return refuse

    module = ModuleType(name)
    vars(module).update(
        _IS_TORCHAUDIO_EXT_AVAILABLE=False,
        _IS_ALIGN_AVAILABLE=False,
        _load_lib=lambda _name: False,
        fail_if_no_align=fail_if_no_align,
    )
    return module


def mel_filterbank(
    n_fft: int,
    n_mels: int,
    sample_rate_hz: int,
    f_min_hz: float = 0.0,
    f_max_hz: float | None = None,
) -> torch.Tensor:
    """Return the triangles that turn a magnitude spectrum into mel bands: spectrum @ filterbank.

    The mel scale is HTK's, 2595 log10(1 + f / 700), and each triangle has height 1 (norm None):
    torchaudio's own defaults.

    return [n_fft // 2 + 1, n_mels] float32; f_max_hz is half the sample rate unless given
    """
    fbanks = load_torchaudio().functional.melscale_fbanks
    f_max_hz = sample_rate_hz / 2 if f_max_hz is None else f_max_hz
    return fbanks(
        n_fft // 2 + 1, f_min_hz, f_max_hz, n_mels, sample_rate_hz, norm=None, mel_scale="htk"
    )
