"""Compile the kernel in C to web/ncodec.wasm: `python web/tools/build.py`. Needs clang and wasm-ld.

The same compiler gives the same bytes; web/ncodec.wasm.txt says which one it was.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOM = Path(__file__).parents[1]
NATIVE = ROOM.parent / "ncodec" / "native"
SOURCES = ("adaptive.c", "kernel.c", "mixed.c", "networks.c", "plain.c", "wasm.c")
FLAGS = (
    "--target=wasm32", "-msimd128", "-O3", "-nostdlib", "-ffreestanding", "-std=c11",
    "-ffp-contract=off", "-Wl,--no-entry", "-Wl,--strip-all",
)  # fmt: skip
MODULE = ROOM / "ncodec.wasm"
RECORD = ROOM / "ncodec.wasm.txt"


def version_of(tool: str) -> str:
    """Return the release of a tool, such as 14.0.6, whoever packaged it. Raises OSError."""
    said = subprocess.run([tool, "--version"], check=True, capture_output=True, text=True).stdout
    found = re.search(r"\d+\.\d+\.\d+", said)
    return found[0] if found else said.strip()


def compilers() -> str:
    """Return what is recorded of the compiler and the linker. Raises OSError without them."""
    return f"clang {version_of('clang')}\nwasm-ld {version_of('wasm-ld')}\n"


def build(module: Path) -> None:
    """Write the module. File names are given without folders, so that none is in the output."""
    command = ["clang", *FLAGS, *SOURCES, "-o", str(module.resolve())]
    subprocess.run(command, cwd=NATIVE, check=True)


if __name__ == "__main__":
    build(MODULE)
    RECORD.write_text(compilers())
    sys.stdout.write(f"{MODULE.name}: {MODULE.stat().st_size} bytes\n")
