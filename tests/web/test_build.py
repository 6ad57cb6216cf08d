"""web/ncodec.wasm is what the sources in C compile to."""

import runpy
import shutil
from pathlib import Path

import pytest

WEB = Path(__file__).parents[2] / "web"


def test_the_module_is_small() -> None:
    assert (WEB / "ncodec.wasm").stat().st_size < 200_000


def test_the_same_compiler_gives_the_same_bytes(tmp_path: Path) -> None:
    missing = [tool for tool in ("clang", "wasm-ld") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"no {', '.join(missing)}")
    build = runpy.run_path(str(WEB / "tools" / "build.py"))
    recorded = (WEB / "ncodec.wasm.txt").read_text()
    if build["compilers"]() != recorded:
        pytest.skip(f"the module was compiled by {recorded.replace(chr(10), ', ')}not these")
    again = tmp_path / "again.wasm"
    build["build"](again)
    assert again.read_bytes() == (WEB / "ncodec.wasm").read_bytes()
