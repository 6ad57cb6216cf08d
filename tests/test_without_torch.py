"""What works where torch is not installed; in .ci/run it really is not."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

import ncodec
from ncodec import native

SAMPLES = sorted((Path(__file__).parents[1] / "samples").glob("*.ncx"))
SCRIPT = """
import sys
sys.modules["torch"] = None  # its import fails
from ncodec.cli.main import main
main(prog_name="ncodec")
"""
pytestmark = pytest.mark.skipif(not native.paths(), reason="the kernel was not built")


def run(*args: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", SCRIPT, *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def source_of(sample: Path) -> Path:
    return sample.with_name(sample.name.split(".")[0] + ".flac")


def check_alike(wav: np.ndarray, source: Path, at_least: float) -> None:
    """The audio is of the source's length, and goes up and down with it."""
    wanted = soundfile.read(source, always_2d=True, dtype="float32")[0].T
    assert wav.shape == wanted.shape
    assert np.corrcoef(wav.ravel(), wanted.ravel())[0, 1] > at_least


@pytest.mark.quick
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_samples_decode(sample: Path, tmp_path: Path) -> None:
    ran = run("decode", sample, "-o", tmp_path / "out.wav")
    assert ran.returncode == 0, ran.stderr
    wav = soundfile.read(tmp_path / "out.wav", always_2d=True, dtype="float32")[0].T
    check_alike(wav, source_of(sample), 0.4 if "1_5kbps" in sample.name else 0.7)
    again, rate = ncodec.decode(sample)
    assert rate == soundfile.info(source_of(sample)).samplerate
    assert np.abs(again - wav).max() < 1e-4  # 16 bits


def test_files_are_encoded_as_with_torch(tmp_path: Path) -> None:
    for name in ("speech_male", "music_stereo"):
        source = SAMPLES[0].with_name(f"{name}.flac")
        assert run("encode", source, "-o", tmp_path / "a.ncx", "-f").returncode == 0
        ncodec.encode_file(source, tmp_path / "b.ncx", overwrite=True)
        assert (tmp_path / "a.ncx").read_bytes() == (tmp_path / "b.ncx").read_bytes()
        check_alike(ncodec.decode(tmp_path / "a.ncx")[0], source, 0.7)


def test_a_library_is_converted(tmp_path: Path) -> None:
    ran = run("batch", SAMPLES[0].parent, tmp_path / "out", "-j", "1")
    assert ran.returncode == 0, ran.stderr
    made = sorted((tmp_path / "out").rglob("*.ncx"))
    assert [path.stem for path in made] == sorted({source_of(each).stem for each in SAMPLES})
    assert run("verify", *made).returncode == 0


def test_what_needs_torch_says_so(tmp_path: Path) -> None:
    source = SAMPLES[0].with_name("speech_male.flac")
    ran = run("encode", "-m", "encodec", source, "-o", tmp_path / "out.ncx")
    assert ran.returncode == 1
    assert ran.stderr.count("\n") == 1
    assert "architecture 'encodec' runs in torch, which is not installed" in ran.stderr
