import subprocess
import sys

import pytest

FAILING_EXTENSION = """
import importlib.abc, importlib.machinery, sys

class Failing(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    tries = 0
    def find_spec(self, name, path, target=None):
        if name == "torchaudio._extension":
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
    def create_module(self, spec):
        return None
    def exec_module(self, module):
        Failing.tries += 1
        raise {error}

sys.meta_path.insert(0, Failing())
"""

ABSENT = """
import importlib.abc, sys

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] == "torchaudio":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
"""


def run(script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", script],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "error",
    [
        "OSError('libc10_cuda.so: cannot open shared object file')",
        "RuntimeError('PyTorch has CUDA version 13.2 whereas TorchAudio has 13.0')",
        "ImportError('Failed to load libtorchaudio')",
    ],
)
def test_a_failing_extension_is_stood_in_for(error: str) -> None:
    script = FAILING_EXTENSION.format(error=error) + (
        "import torch\n"
        "from ncodec.nn.mel import load_torchaudio\n"
        "torchaudio = load_torchaudio()\n"
        "assert Failing.tries == 1\n"
        "assert load_torchaudio() is torchaudio is sys.modules['torchaudio']\n"
        "wav = torch.sin(torch.arange(4800) * 0.05)[None]\n"
        "assert torchaudio.functional.resample(wav, 48000, 24000).shape == (1, 2400)\n"
        "mel = torchaudio.transforms.MelSpectrogram(24000, n_fft=512, n_mels=40)(wav)\n"
        "assert mel.shape[:2] == (1, 40) and bool(mel.isfinite().all())\n"
        "try:\n"
        "    torchaudio.functional.forced_align(wav, wav)\n"
        "except RuntimeError as error:\n"
        "    print(error)\n"
    )
    assert "forced_align needs torchaudio's compiled extension" in run(script)


def test_an_absent_torchaudio_is_named_with_who_needs_it() -> None:
    script = ABSENT + (
        "from ncodec.errors import ModelError\n"
        "from ncodec.nn.mel import load_torchaudio\n"
        "try:\n"
        "    load_torchaudio()\n"
        "except ModelError as error:\n"
        "    print(error)\n"
    )
    message = run(script)
    assert "training needs the package torchaudio" in message
    assert "pip install" in message


def test_a_torchaudio_that_never_loads_is_an_error_and_leaves_nothing_behind() -> None:
    script = FAILING_EXTENSION.replace("_extension", "functional").format(
        error="OSError('broken')"
    ) + (
        "from ncodec.errors import ModelError\n"
        "from ncodec.nn.mel import load_torchaudio\n"
        "try:\n"
        "    load_torchaudio()\n"
        "except ModelError as error:\n"
        "    print(error, [name for name in sys.modules if name.startswith('torchaudio')])\n"
    )
    message = run(script)
    assert "does not load: broken" in message
    assert message.endswith("[]\n")


def test_reading_audio_imports_neither_torch_nor_torchaudio() -> None:
    script = (
        "import sys, io, numpy\n"
        "import ncodec, ncodec.audio, ncodec.atomic_files\n"
        "assert 'soundfile' not in sys.modules and 'soxr' not in sys.modules\n"
        "file = io.BytesIO()\n"
        "ncodec.audio.write(file, numpy.zeros((1, 100)), 24000)\n"
        "file.seek(0)\n"
        "wav, rate = ncodec.audio.read(file)\n"
        "ncodec.audio.resample(wav, rate, 16000)\n"
        "print([name for name in ('torch', 'torchaudio') if name in sys.modules])\n"
    )
    assert run(script) == "[]\n"


def test_importing_the_door_does_not_import_torchaudio() -> None:
    assert run("import sys, ncodec.nn.mel\nprint('torchaudio' in sys.modules)") == "False\n"


def test_the_filterbank_is_htk_triangles_of_height_one() -> None:
    import torch

    from ncodec.nn.mel import mel_filterbank

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
