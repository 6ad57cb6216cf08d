"""Options and fixtures for all tests."""

import difflib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

# Before torch is imported: two threads wait on each other for ever beside another busy process.
os.environ.setdefault("OMP_NUM_THREADS", "1")

GOLDEN = Path(__file__).parent / "golden"
LONG = ("batch", "training", "web")  # folders


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--regenerate-golden",
        action="store_true",
        help="write the golden files anew and print what changed, instead of comparing with them; "
        "in one process",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    if config.getoption("--regenerate-golden"):  # prints what changed, so without workers
        config.option.numprocesses = 0


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests of a file on one worker, unless it names a group: they share fixtures.

    Long files come first, so that no worker waits for another one at the end.
    """
    tests = Path(__file__).parent
    items.sort(key=lambda item: item.path.relative_to(tests).parts[0] not in LONG)
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            name = item.path.relative_to(tests).with_suffix("").as_posix()
            item.add_marker(pytest.mark.xdist_group(name))


@pytest.fixture
def check_golden(
    request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> Callable[[Path, bytes], None]:
    """Compare content with a golden file, or write that file with --regenerate-golden."""
    regenerate = request.config.getoption("--regenerate-golden")

    def check(path: Path, content: bytes) -> None:
        old = path.read_bytes() if path.exists() else None
        if not regenerate:
            assert old is not None, f"{path} is missing: pytest --regenerate-golden writes it"
            assert content == old, f"{path.name} changed:\n{describe_change(old, content)}"
        elif content != old:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            with capsys.disabled():
                change = "new" if old is None else describe_change(old, content)
                print(f"\n{path.relative_to(GOLDEN)}: {change}")

    return check


def describe_change(old: bytes, new: bytes) -> str:
    try:
        lines = old.decode().splitlines(), new.decode().splitlines()
    except UnicodeDecodeError:
        pairs = enumerate(zip(old, new, strict=False))
        at = next((i for i, (a, b) in pairs if a != b), min(len(old), len(new)))
        return f"{len(old)} -> {len(new)} bytes, first difference at byte {at}"
    return "\n".join(difflib.unified_diff(*lines, lineterm="", n=1))


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with two models: of no quality, but their lengths and codes are exact.

    `tiny` has no entropy model, `modelled` has one.
    """
    import torch
    from random_network import TINY, random_tensors

    from ncodec.hub.codecs import CODECS, save_codec
    from ncodec.hub.entropy_models import save_network
    from ncodec.models.spectral import SpectralCodec
    from ncodec.models.spectral_base import PRESETS

    models = tmp_path_factory.mktemp("cache") / "models"
    models.mkdir()
    torch.manual_seed(5)
    facts = {"licence": "CC0-1.0"}
    for name in ("tiny", "modelled"):
        codec = SpectralCodec(PRESETS["spectral-tiny"])
        save_codec(models / f"{name}.safetensors", name, codec, facts)
    save_network(
        models / "entropy" / "modelled.safetensors", "modelled",
        CODECS.describe(models / "modelled.safetensors"), TINY, random_tensors(TINY, 3), facts,
    )  # fmt: skip
    return models.parent


@pytest.fixture(scope="session")
def architectures(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """A cache with a tiny model of every architecture beside those of `cache`."""
    import tiny_models

    folder = tmp_path_factory.mktemp("architectures")
    tiny_models.save_models(folder)
    shutil.copytree(cache, folder, dirs_exist_ok=True)
    return folder
