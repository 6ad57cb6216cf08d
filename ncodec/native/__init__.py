"""The kernel: entropy coders and the networks of `spectral`, in C.

The transformer: kernel.h says what the C does, and `ncodec.native.kernel` calls it. The adaptive
and the mixed coder: adaptive.h, mixed.h, `ncodec.native.coders`. The networks and the search for
codes: networks.h, `ncodec.native.networks`. All are built when ncodec is installed where there is a
C compiler. Without one `paths` returns nothing, and `ncodec.entropy` and `ncodec.models.spectral`
do the same by torch and NumPy: the coders at a tenth of the speed or less, the mixed one at less
than a hundredth. For JavaScript, wasm.c says how the same sources become WebAssembly.

The environment variable NCODEC_KERNEL names the path to take, one of `paths`, or `none`.
"""

import contextlib
import os
from typing import Any

from ncodec.errors import UsageError

extension: Any = None
with contextlib.suppress(ImportError):
    import ncodec.native._kernel as extension  # pyright: ignore  (compiled)


def paths() -> list[str]:
    """Return the names of the instructions that can be used here, the best first."""
    return extension.paths() if extension else []


def chosen_path() -> str | None:
    """Return the path that NCODEC_KERNEL names, or the best; None for none."""
    known, wanted = paths(), os.environ.get("NCODEC_KERNEL", "")
    if not wanted:
        return known[0] if known else None
    if wanted == "none":
        return None
    if wanted not in known:
        raise UsageError(f"NCODEC_KERNEL: {wanted!r}; expected one of {', '.join(known)} or none")
    return wanted
