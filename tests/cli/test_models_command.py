"""`ncodec models`."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from loopback import Site, serving
from ran import Run

from ncodec.hub import model_files, public
from ncodec.hub.public import PublicModel

UNPREDICTED = (
    "tiny: no entropy model is installed; its codes are packed by the adaptive coder. To train one "
    "on your audio:\n  ncodec train-entropy tiny FOLDER -o runs/tiny-entropy && "
    "ncodec models import runs/tiny-entropy/tiny.safetensors\n"
)


def test_the_table_has_a_row_per_model(run: Run, cache: Path) -> None:
    ran = run("models")
    assert (ran.code, ran.err) == (0, "")
    title, *rows = ran.out.splitlines()
    assert title.split() == [
        "MODEL", "ARCHITECTURE", "PARAMETERS", "RATE", "BANDWIDTHS", "LICENCE", "DIGEST", "SOURCE",
        "ENTROPY", "ECDC-LM",
    ]  # fmt: skip
    digest = hashlib.sha256((cache / "models" / "tiny.safetensors").read_bytes()).hexdigest()
    (tiny,) = (row for row in rows if row.startswith("tiny "))
    assert re.search(r"  8 kHz mono +0.4/0.8/1.6 kbps +CC0-1.0  ", tiny)
    assert re.search(rf"  {digest[:16]}  cache    mixed +-$", tiny)


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
        "ecdc_lm": None,
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


def test_list_is_the_same(run: Run) -> None:
    assert run("models", "list").raw == run("models").raw
    assert run("models", "list", "--json").raw == run("models", "--json").raw
    assert run("models", "--json", "remove", "tiny").code == 2


@pytest.fixture
def own_cache(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that a test may change, with the models of `cache`."""
    own = tmp_path / "own"
    shutil.copytree(cache, own)
    monkeypatch.setenv("NCODEC_CACHE", str(own))
    return own


def test_export_remove_import(run: Run, own_cache: Path) -> None:
    path = own_cache / "models" / "tiny.safetensors"
    content = path.read_bytes()
    ran = run("models", "export", "tiny", "-o", "copy")
    assert (ran.code, ran.out, ran.err) == (0, "", "tiny -> copy\n")
    assert Path("copy").read_bytes() == content
    ran = run("models", "export", "modelled", "-o", "copy")
    assert (ran.code, ran.err) == (1, "ncodec: error: copy: exists already; -f replaces it\n")
    ran = run("models", "remove", "tiny")
    assert (ran.code, ran.err) == (0, f"{path}: removed\n")
    assert not path.exists()
    ran = run("models", "remove", "tiny")
    assert ran.code == 1
    assert re.search(r"model 'tiny': not installed; installed: .*spectral, modelled", ran.err)
    ran = run("models", "import", "copy")
    assert (ran.code, ran.err) == (0, f"copy -> {path}: codec tiny\n{UNPREDICTED}")
    assert path.read_bytes() == content
    ran = run("models", "import", "copy")
    assert (ran.code, ran.err) == (1, f"ncodec: error: {path}: exists already; -f replaces it\n")
    assert run("models", "import", "-f", "copy").code == 0
    assert run("models", "import", "copy", "--as", "other").code == 2
    assert run("models", "import", "copy", "--as", "../other").code == 2
    assert run("models", "import", "nowhere").code == 1


def test_export_of_a_kind_into_a_folder(run: Run, own_cache: Path) -> None:
    Path("out").mkdir()
    assert run("models", "export", "modelled", "-o", "out", "--kind", "entropy").code == 0
    path = own_cache / "models" / "entropy" / "modelled.safetensors"
    assert Path("out/modelled.safetensors").read_bytes() == path.read_bytes()
    ran = run("models", "export", "modelled", "-o", "lm", "--kind", "ecdc-lm")
    assert ran.code == 1
    assert "ecdc-lm 'modelled': not installed; installed: none" in ran.err


def test_remove_says_what_it_leaves(run: Run, own_cache: Path) -> None:
    codec = own_cache / "models" / "modelled.safetensors"
    entropy = own_cache / "models" / "entropy" / "modelled.safetensors"
    ran = run("models", "remove", "modelled")
    assert ran.err.splitlines() == [
        f"{codec}: removed",
        f"{entropy}: left, of no use without modelled; --kind removes it",
    ]
    ran = run("models", "remove", "modelled", "--kind", "entropy")
    assert ran.err.splitlines() == [f"{entropy}: removed"]


def test_remove_all(run: Run, own_cache: Path) -> None:
    assert run("models", "remove", "modelled", "--all").err.count(": removed\n") == 2
    left = {path.name for path in own_cache.rglob("*.safetensors")}
    assert left == {"tiny.safetensors"}


def test_remove_all_leaves_what_the_package_needs(
    run: Run, own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(own_cache / "models", tmp_path / "package")
    monkeypatch.setattr(model_files, "SHIPPED", tmp_path / "package")
    path = own_cache / "models" / "modelled.safetensors"
    assert run("models", "remove", "modelled", "--all").err == f"{path}: removed\n"


def test_models_of_the_package_stay(run: Run) -> None:
    ran = run("models", "remove", "spectral")
    assert ran.code == 1
    assert ran.err.endswith("spectral.safetensors: came with the package and stays\n")


def test_a_language_model_is_listed(run: Run, own_cache: Path) -> None:
    import torch

    from ncodec.hub.language_models import save
    from ncodec.models.encodec_lm import LmConfig

    config = LmConfig(n_codebooks=2, past_frames=3, codebook_size=16, width=8, hidden=8, n_layers=1)
    tensors = {name: torch.zeros(shape) for name, shape in config.layout().items()}
    path = own_cache / "lm.safetensors"
    save(path, "tiny", config, tensors, {"licence": "MIT"})
    installed = own_cache / "models" / "ecdc-lm" / "tiny.safetensors"
    ran = run("models", "import", path)
    assert (ran.code, ran.err) == (
        0, f"{path} -> {installed}: language model for .ecdc files tiny\n"
    )  # fmt: skip
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (tiny,) = (row for row in run("models").out.splitlines() if row.startswith("tiny "))
    assert tiny.endswith(f"  mixed                         {digest[:16]}")
    listed = json.loads(run("models", "--json").out)["models"]
    (found,) = (model["ecdc_lm"] for model in listed if model["id"] == "tiny")
    assert found == {
        "id": "tiny",
        "n_parameters": sum(tensor.numel() for tensor in tensors.values()),
        "licence": "MIT",
        "sha256": digest,
        "source": "cache",
        "path": str(installed),
    }
    assert f"{installed}: left" in run("models", "remove", "tiny").err
    assert run("models", "remove", "tiny").err == f"{installed}: removed\n"


@pytest.fixture
def site(
    cache: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Site, dict[str, PublicModel]]]:
    """A server that has the model `tiny`, which is not installed, and the table that says so."""
    (own_cache / "models" / "tiny.safetensors").unlink()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    content = (cache / "models" / "tiny.safetensors").read_bytes()
    with serving(Site(content)) as served:
        row = PublicModel(
            "small", "codec", "tiny", served.url, len(content),
            hashlib.sha256(content).hexdigest(), "CC0-1.0", "https://home",
        )  # fmt: skip
        table = {"small": row}
        monkeypatch.setattr(public, "public_models", lambda: table)
        yield served, table


def test_pull(run: Run, own_cache: Path, site: tuple[Site, dict[str, PublicModel]]) -> None:
    served, _ = site
    path = own_cache / "models" / "tiny.safetensors"
    ran = run("models", "pull", "small")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err.splitlines() == [
        "small: checked against the published SHA-256",
        f"file.th -> {path}: codec tiny, licence CC0-1.0",
        *UNPREDICTED.splitlines(),
    ]
    assert path.read_bytes() == served.content
    assert not list((own_cache / "downloads").iterdir())
    ran = run("models", "pull", "small")
    assert (ran.code, ran.err) == (1, f"ncodec: error: {path}: exists already; -f replaces it\n")
    assert len(served.asked) == 1
    assert run("models", "pull", "small", "--force").code == 0


def test_pull_goes_on(run: Run, site: tuple[Site, dict[str, PublicModel]]) -> None:
    served, _ = site
    served.break_after = 1000
    ran = run("models", "pull", "small")
    assert ran.code == 1
    assert ran.err.startswith(f"ncodec: error: {served.url}: the connection broke after 1000 of ")
    served.break_after = None
    assert run("models", "pull", "small").code == 0
    assert served.asked[1]["Range"] == "bytes=1000-"


def test_pull_says_what_was_checked(run: Run, site: tuple[Site, dict[str, PublicModel]]) -> None:
    _, table = site
    digest = table["small"].sha256
    table["small"] = replace(table["small"], sha256=digest[:8], n_bytes=0)
    assert run("models", "pull", "small").err.splitlines()[0] == (
        f"small: checked against the published first 8 digits; full SHA-256 is {digest}"
    )
    table["small"] = replace(table["small"], sha256="")
    assert run("models", "pull", "-f", "small").err.splitlines()[0] == (
        f"small: not checked, no digest is published; SHA-256 is {digest}"
    )


def test_pull_fetches_the_entropy_model_too(
    run: Run, own_cache: Path, site: tuple[Site, dict[str, PublicModel]]
) -> None:
    _, table = site
    codec, entropy = (
        own_cache / "models" / kind / "modelled.safetensors" for kind in ("", "entropy")
    )
    contents = [path.read_bytes() for path in (codec, entropy)]
    entropy.unlink()
    row = replace(table["small"], name="all", model_id="modelled", sha256="", n_bytes=0)
    with serving(Site(contents[0])) as first, serving(Site(contents[1])) as second:
        table["predictor"] = replace(row, name="predictor", kind="entropy", url=second.url)
        table["all"] = replace(row, url=first.url, entropy="predictor")
        ran = run("models", "pull", "all")  # the codec is there
        assert (ran.code, len(first.asked), len(second.asked)) == (0, 0, 1)
        assert f"{entropy}: entropy model modelled, licence CC0-1.0" in ran.err
        assert "no entropy model is installed" not in ran.err
        assert entropy.read_bytes() == contents[1]
        assert run("models", "pull", "all").code == 1
        assert run("models", "pull", "all", "-f").code == 0
        assert (codec.read_bytes(), entropy.read_bytes()) == tuple(contents)
        table["other"] = replace(table["small"], name="other", entropy="predictor")
        entropy.unlink()
        ran = run("models", "pull", "other")
        assert ran.code == 1
        assert "entropy model for the codec modelled " in ran.err
        table["wrong"] = replace(row, name="wrong", url=second.url)
        ran = run("models", "pull", "wrong", "-f")
        assert f"{second.url}: entropy model, expected codec" in ran.err
    assert not list((own_cache / "downloads").iterdir())
    assert (codec.read_bytes(), entropy.exists()) == (contents[0], False)


def test_pull_of_something_else(
    run: Run, own_cache: Path, site: tuple[Site, dict[str, PublicModel]]
) -> None:
    served, _ = site
    served.content = served.content[:-1] + b"?"
    ran = run("models", "pull", "small")
    assert ran.code == 1
    assert "the file was deleted" in ran.err
    assert {path.name for path in own_cache.iterdir()} == {"models", "downloads"}
    assert not list((own_cache / "downloads").iterdir())
    assert not (own_cache / "models" / "tiny.safetensors").exists()


def test_pull_from_elsewhere(run: Run, site: tuple[Site, dict[str, PublicModel]]) -> None:
    served, table = site
    table["small"] = replace(table["small"], url="")
    ran = run("models", "pull", "small")
    assert ran.code == 1
    assert (
        "small: no address that a program can fetch is published; https://home has a link"
        in ran.err
    )
    assert run("models", "pull", "small", "--from", "file:///etc/passwd").code == 2
    assert run("models", "pull", "small", "--from", served.url).code == 0
    assert run("models", "pull", "other").code == 2


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("list", 0),
        ("export tiny -o copy", 0),
        ("remove tiny", 0),
        ("pull encodec_24khz --from http://127.0.0.1:9/", 1),
        ("import --as ../x FILE", 2),
    ],
)
def test_torch_is_imported_to_convert_only(own_cache: Path, command: str, code: int) -> None:
    script = (
        "import sys; from ncodec.cli.main import main\n"
        "try: main()\n"
        "finally: assert 'torch' not in sys.modules"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, "models", *command.split()],
        capture_output=True, text=True, check=False, env=os.environ | {"no_proxy": "127.0.0.1"},
    )  # fmt: skip
    assert "Traceback" not in ran.stderr
    assert ran.returncode == code, ran.stderr
