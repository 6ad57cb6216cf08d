import importlib.abc
import subprocess
import sys

import pytest
import torch

from ncodec.nn import mel
from ncodec.nn.mel import mel_filterbank, triangles


def run(script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", script],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_reading_audio_imports_neither_torch_nor_torchaudio() -> None:
    script = (
        "import sys, io, numpy\n"
        "import ncodec, ncodec.audio, ncodec.formats.atomic_files\n"
        "assert 'soundfile' not in sys.modules and 'soxr' not in sys.modules\n"
        "file = io.BytesIO()\n"
        "ncodec.audio.write(file, numpy.zeros((1, 100)), 24000)\n"
        "file.seek(0)\n"
        "wav, rate = ncodec.audio.read(file)\n"
        "ncodec.audio.resample(wav, rate, 16000)\n"
        "print([name for name in ('torch', 'torchaudio') if name in sys.modules])\n"
    )
    assert run(script) == "[]\n"


def test_importing_the_module_does_not_import_torchaudio() -> None:
    assert run("import sys, ncodec.nn.mel\nprint('torchaudio' in sys.modules)") == "False\n"


def test_the_filterbank_is_htk_triangles_of_height_one() -> None:
    bank = mel_filterbank(4096, 32, 24000)
    assert bank.shape == (2049, 32)
    assert bank.dtype == torch.float32
    assert float(bank.min()) == 0
    assert float(bank.max()) <= 1
    assert float(bank.max(dim=0).values.min()) > 0.8
    edges = 700 * (10 ** (torch.linspace(0, 2595 * torch.log10(torch.tensor(1 + 12000 / 700)), 34)
                          / 2595) - 1)  # fmt: skip
    peaks = bank.argmax(dim=0) * 24000 / 4096
    assert torch.allclose(peaks, edges[1:-1], atol=24000 / 4096)
    assert bank[:-1].sum(dim=1)[200:1500].allclose(torch.ones(1300), atol=1e-4)


SIZES = ((4096, 32, 24000), (128, 64, 24000), (2048, 128, 44100))


@pytest.mark.parametrize("sizes", SIZES)
def test_without_torchaudio_the_numbers_are_the_same(sizes: tuple[int, int, int]) -> None:
    pytest.importorskip("torchaudio", exc_type=(ImportError, OSError, RuntimeError))
    n_fft, n_mels, rate = sizes
    assert torch.equal(
        mel_filterbank(*sizes), triangles(n_fft // 2 + 1, 0.0, rate / 2, n_mels, rate)
    )


@pytest.mark.parametrize("error", [OSError, RuntimeError, ImportError])
def test_a_torchaudio_that_does_not_load_is_done_without(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(importlib.abc.MetaPathFinder):
        def find_spec(self, name: str, path: object, target: object = None) -> None:
            if name.split(".")[0] == "torchaudio":
                raise error(f"{name} does not load")

    for name in [name for name in sys.modules if name.split(".")[0] == "torchaudio"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Failing(), *sys.meta_path])
    mel._torchaudio.cache_clear()
    try:
        assert mel._torchaudio() is None
        assert torch.equal(mel_filterbank(64, 5, 24000), triangles(33, 0.0, 12000.0, 5, 24000))
    finally:
        mel._torchaudio.cache_clear()
