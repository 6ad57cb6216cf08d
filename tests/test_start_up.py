"""What starting a command imports: torch alone takes two seconds."""

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ncodec import native
from ncodec.entropy import open_coder
from ncodec.formats.ncx import CodesDigest, Header, Writer

SAMPLE = Path(__file__).parents[1] / "samples" / "speech_male.6kbps.ncx"  # by the transformer
HEAVY = ("torch", "torchaudio", "soundfile", "soxr", "tqdm", "numpy", "constriction")
SCRIPT = f"""
import sys
if "without torch" in sys.argv:
    sys.argv.remove("without torch")
    sys.modules["torch"] = None  # its import fails
from ncodec.cli.main import main
try:
    main(prog_name="ncodec")
finally:
    print(*(name for name in {HEAVY!r} if sys.modules.get(name)), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def ncx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with codes that decode."""
    header = Header(
        architecture=1, model_id="spectral", model_fingerprint=b"abcd", sample_rate_hz=24000,
        n_channels=1, codebook_size=16, n_codebooks=2, samples_per_frame=320, entropy=1,
        n_samples=3200,
    )  # fmt: skip
    codes, digest, stream = np.zeros((1, 2, 11), np.int64), CodesDigest(), io.BytesIO()
    coder = open_coder("adaptive", n_streams=1, n_codebooks=2, codebook_size=16)
    writer = Writer(stream, header)
    writer.write_packet(11, coder.encode(codes))
    digest.update(codes.astype("<u2").tobytes())
    writer.finish(digest.digest())
    path = tmp_path_factory.mktemp("start") / "song.ncx"
    path.write_bytes(stream.getvalue())
    return path


@pytest.mark.parametrize(
    ("command", "allowed"),
    [
        ("--version", set()),
        ("--help", set()),
        ("encode --help", set()),
        ("train --help", set()),
        ("codes export --help", set()),
        ("web export --help", set()),
        ("play --help", set()),
        ("models --json", set()),
        ("inspect --packets --bytes FILE", {"numpy", "constriction"}),
        ("inspect --json FILE", {"numpy", "constriction"}),
        ("verify FILE", {"numpy", "constriction"}),
    ],
)
def test_start_up_is_light(ncx: Path, command: str, allowed: set[str]) -> None:
    args = [str(ncx) if arg == "FILE" else arg for arg in command.split()]
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, *args], capture_output=True, text=True, check=True
    )
    assert ran.stdout
    assert set(ran.stderr.split()) <= allowed


@pytest.mark.skipif(not native.paths(), reason="the kernel was not built")
@pytest.mark.parametrize("without", [[], ["without torch"]], ids=["torch", "no torch"])
@pytest.mark.parametrize("of", ["adaptive", "transformer"])
@pytest.mark.parametrize(
    "command",
    [
        "inspect --packets --bytes FILE",
        "verify FILE",
        "tags --json FILE",
        "tags --set title=x FILE -o OUTPUT",
        "models list --json",
    ],
)
def test_what_decodes_no_audio_needs_no_torch(
    ncx: Path, tmp_path: Path, command: str, of: str, without: list[str]
) -> None:
    places = {"FILE": str(ncx if of == "adaptive" else SAMPLE), "OUTPUT": str(tmp_path / "o.ncx")}
    args = [places.get(arg, arg) for arg in command.split()]
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, *args, *without], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert set(ran.stderr.splitlines()[-1].split()) <= {"numpy", "constriction"}


@pytest.mark.skipif(not native.paths(), reason="the kernel was not built")
@pytest.mark.parametrize("without", [[], ["without torch"]], ids=["torch", "no torch"])
@pytest.mark.parametrize(
    "command",
    [
        "encode AUDIO -o OUTPUT.ncx",
        "encode --effort best AUDIO -o OUTPUT.ncx",
        "encode --entropy adaptive AUDIO -o OUTPUT.ncx",
        "encode --live AUDIO -o OUTPUT.ncx",
        "decode FILE -o OUTPUT.flac",
        "decode --start 0.5 --end 1 FILE -o OUTPUT.wav",
        "decode --conceal FILE -o OUTPUT.wav",
        "repack -b 3 FILE -o OUTPUT.ncx",
    ],
)
def test_files_of_spectral_need_no_torch(tmp_path: Path, command: str, without: list[str]) -> None:
    sample = SAMPLE.with_name("speech_male.flac")
    places = {"FILE": str(SAMPLE), "AUDIO": str(sample)}
    args = [
        places.get(arg, arg.replace("OUTPUT", str(tmp_path / "out"))) for arg in command.split()
    ]
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, *args, *without], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert "torch" not in ran.stderr.splitlines()[-1].split()
    (made,) = tmp_path.iterdir()
    assert made.stat().st_size > 500


@pytest.mark.parametrize("kernel", ["", "none"])
def test_the_transformer_needs_the_kernel_or_torch(kernel: str) -> None:
    if not kernel and not native.paths():
        pytest.skip("the kernel was not built")
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, "verify", str(SAMPLE), "without torch"],
        capture_output=True, text=True, check=False, env=os.environ | {"NCODEC_KERNEL": kernel},
    )  # fmt: skip
    said = ": FAILED: the transformer coder needs the kernel, which was not built here, or torch"
    assert ran.returncode == (1 if kernel else 0)
    assert (said in ran.stdout) == bool(kernel)


def test_bad_inputs_are_found_without_torch(tmp_path: Path) -> None:
    args = ["encode", str(tmp_path / "missing.wav"), str(tmp_path)]
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, *args], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 1
    first, second, imported = ran.stderr.splitlines()
    assert first.endswith("missing.wav: no such file")
    assert second.endswith("is a folder; give the files in it")
    assert imported == ""


def test_import_of_the_package_is_light() -> None:
    code = f"import ncodec, sys; print(*(name for name in {HEAVY!r} if name in sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "\n"
