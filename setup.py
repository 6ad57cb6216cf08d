"""The one thing that pyproject.toml cannot say: a kernel in C that may be left out.

Where no compiler works, ncodec is installed all the same, without ncodec.native._kernel.
"""

import sys
from pathlib import Path

from setuptools import Extension, setup

ROOM = Path("ncodec/native")
FLAGS = ["/O2", "/std:c11"] if sys.platform == "win32" else [
    "-std=c11", "-O3", "-g0", "-ffp-contract=off", "-fno-trapping-math", "-fno-math-errno"
]  # fmt: skip

setup(
    ext_modules=[
        Extension(
            "ncodec.native._kernel",
            sources=[str(path) for path in sorted(ROOM.glob("*.c"))],
            depends=[str(path) for path in sorted(ROOM.glob("*.h"))],
            extra_compile_args=FLAGS,
            py_limited_api=True,
            optional=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
