"""Codes as data for language models: shards of tokens, and data sets of torch.

>>> from ncodec.batch.data import CodesStream, ExportOptions, export, restore
>>> export(["coded"], "tokens", ExportOptions("webdataset", layout="delay"))
>>> restore("tokens", "back")                                   # the same codes
>>> for codes in CodesStream(["coded"], n_frames=256, seed=1):   # [K, 256] int64
...     ...

`layouts` is codes <-> tokens, `shards` tokens <-> files, `rows` what a manifest says; `sources`
finds .ncx files. Only the data sets need torch: importing this does not load it. docs/CODES.md
shows all of it.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from ncodec.batch.data.export import Exported, ExportOptions, export, records
from ncodec.batch.data.layouts import LAYOUTS, Layout
from ncodec.batch.data.restore import restore
from ncodec.batch.data.shards import FORMATS

if TYPE_CHECKING:
    from ncodec.batch.data.datasets import CodesStream, CodesWindows

__all__ = [
    "FORMATS", "LAYOUTS", "CodesStream", "CodesWindows", "ExportOptions", "Exported", "Layout",
    "export", "records", "restore",
]  # fmt: skip


def __getattr__(name: str) -> object:
    """Import the data sets, and with them torch, when they are first used."""
    if name not in ("CodesStream", "CodesWindows"):
        raise AttributeError(f"module 'ncodec.batch.data' has no attribute {name!r}")
    return getattr(import_module("ncodec.batch.data.datasets"), name)
