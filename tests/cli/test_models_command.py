"""`ncodec models`."""

import hashlib
import json
import re
from pathlib import Path

import pytest
from ran import Run


def test_the_table_has_a_row_per_model(run: Run, cache: Path) -> None:
    ran = run("models")
    assert (ran.code, ran.err) == (0, "")
    title, *rows = ran.out.splitlines()
    assert title.split() == [
        "MODEL", "ARCHITECTURE", "PARAMETERS", "RATE", "BANDWIDTHS", "LICENCE", "DIGEST", "SOURCE",
        "ENTROPY",
    ]  # fmt: skip
    digest = hashlib.sha256((cache / "models" / "tiny.safetensors").read_bytes()).hexdigest()
    (tiny,) = (row for row in rows if row.startswith("tiny "))
    assert re.search(r"  8 kHz mono +0.4/0.8/1.6 kbps +CC0-1.0  ", tiny)
    assert tiny.endswith(f"  {digest[:16]}  cache    adaptive")


def test_json(run: Run, cache: Path) -> None:
    path = cache / "models" / "tiny.safetensors"
    got = json.loads(run("models", "--json").out)
    assert got["schema"] == "ncodec.models/1"
    (tiny,) = (model for model in got["models"] if model["id"] == "tiny")
    assert tiny.pop("n_parameters") > 1000
    assert tiny == {
        "id": "tiny",
        "architecture": "spectral",
        "sample_rate_hz": 8000,
        "n_channels": 1,
        "n_codebooks": 4,
        "codebook_size": 16,
        "bandwidths_kbps": [0.4, 0.8, 1.6],
        "default_bandwidth_kbps": 1.6,
        "licence": "CC0-1.0",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "source": "cache",
        "path": str(path),
        "entropy_model": None,
    }


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"short", "not a .safetensors file: 5 bytes"),
        (b"\x02\0\0\0\0\0\0\0[]", "not a model file of ncodec: "),
        (b"\x02\0\0\0\0\0\0\0{}", "not a model file of ncodec: 'ncodec'"),
        (b"\x02\0\0\0\0\0\0\0{?", "header is not JSON: "),
        (b"\xff" * 8, "header of 18446744073709551615 bytes, the limit is 1048576"),
    ],
)
def test_a_broken_file_is_named_beside_the_others(
    run: Run, cache: Path, content: bytes, said: str
) -> None:
    broken = cache / "models" / "broken.safetensors"
    broken.write_bytes(content)
    try:
        ran = run("models")
    finally:
        broken.unlink()
    assert ran.code == 1
    assert "\ntiny " in ran.out
    assert ran.err.startswith(f"ncodec: error: {broken}: {said}")
    assert ran.err.count("\n") == 1
