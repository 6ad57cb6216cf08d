"""A site that plays files: the page, its modules, models and .ncx files."""

import io
import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from urllib.parse import quote, unquote_to_bytes

from ncodec.errors import ModelError, NcodecError, OutputExists, UsageError
from ncodec.formats.atomic_files import atomic_output
from ncodec.formats.ncx import ARCHITECTURES, Reader
from ncodec.hub import codecs, entropy_models
from ncodec.hub.cache import check_name
from ncodec.hub.codecs import DEFAULT_MODEL, ModelFile
from ncodec.hub.entropy_models import EntropyModelFile
from ncodec.web import ROOM, modules
from ncodec.web.compact import compact

DESCRIPTION = "site.json"
"""What a site has: files, and models with the digests that headers name."""
DECODED = ("spectral",)
"""Architectures whose audio the player decodes."""
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".wasm": "application/wasm",
    ".ncx": "audio/x-ncx",
}
OTHER_TYPE = "application/octet-stream"
_DIGEST_DIGITS = 12  # of a model's digest, in the name of its file

Content = bytes | Path
AnyModel = ModelFile | EntropyModelFile


@dataclass(frozen=True, slots=True)
class Site:
    """All files of a site.

    Attributes:
        contents: of each file, by its name from the site's folder on; a path where a file is to be
            copied. The description and the page come last.
        n_files: how many of them are .ncx files.
        n_models: how many of them are models.
    """

    contents: Mapping[str, Content]
    n_files: int
    n_models: int

    @property
    def n_bytes(self) -> int:
        """Size of all files."""
        return sum(map(size_of, self.contents.values()))


def size_of(content: Content) -> int:
    """Return how many bytes a file of a site has."""
    return content.stat().st_size if isinstance(content, Path) else len(content)


def type_of(name: str) -> str:
    """Return the media type of a file, by its suffix."""
    return MEDIA_TYPES.get(PurePosixPath(name).suffix.lower(), OTHER_TYPE)


def address(name: str) -> str:
    """Return the address of a file of a site, from the site's on: a name may have any character."""
    return quote(os.fsencode(name), safe="/")


def name_of(address: str) -> str:
    """Return the name of the file that has an address."""
    return os.fsdecode(unquote_to_bytes(address))


def make_site(files: Sequence[Path], model_names: Sequence[str] = ()) -> Site:
    """Return a site of .ncx files, and of the models that they need or that are named.

    model_names  as `codecs.find` takes them; without these and without files, the default model

    Raises NcodecError for what is no .ncx file, and for a model that the player cannot decode.
    """
    names = list(model_names) if files or model_names else [DEFAULT_MODEL]
    needed = dict.fromkeys(model for path in files for model in _models_of(path))
    needed |= dict.fromkeys(model for name in names for model in _models_named(name))
    contents: dict[str, Content] = {
        module.name: ROOM / module.name for module in modules.load_modules(modules.entries())
    }
    contents[modules.KERNEL] = ROOM / modules.KERNEL
    models = [_Stored(model) for model in needed]
    contents |= {model.name: model.content for model in models}
    for path in files:
        if path.name in {*contents, modules.PAGE, DESCRIPTION}:
            raise UsageError(f"{path}: the site has another file named {path.name}")
        contents[path.name] = path
    description = {
        "files": [address(path.name) for path in files],
        "models": [model.description for model in models],
    }
    contents[DESCRIPTION] = json.dumps(description, indent=2).encode() + b"\n"
    contents[modules.PAGE] = ROOM / modules.PAGE
    return Site(contents, len(files), len(models))


class _Stored:
    """A model as a site has it."""

    def __init__(self, model: AnyModel) -> None:
        check_name(model.model_id)
        is_codec = isinstance(model, ModelFile)
        self.name = f"models/{model.sha256[:_DIGEST_DIGITS]}-{model.model_id}.safetensors"
        # An entropy model's integers must be what they are: it is copied.
        self.content: Content = compact(model) if is_codec else model.path
        self.description = {
            "file": address(self.name),
            "model_id": model.model_id,
            "sha256": model.sha256,
            "kind": "codec" if is_codec else "entropy",
            "bytes": size_of(self.content),
        }


def _models_of(path: Path) -> Iterable[AnyModel]:
    """Yield the models that a .ncx file was made with. Raises NcodecError."""
    if not path.is_file():
        raise NcodecError(f"{path}: no such file")
    with path.open("rb") as stream:
        header = Reader(stream, str(path)).header
    try:
        _check(header.model_id, ARCHITECTURES.get(header.architecture, "unknown"))
        yield codecs.find_exact(header.model_id, header.model_fingerprint)
        if header.entropy_model_id:
            yield entropy_models.find_exact(header.entropy_model_id, header.entropy_fingerprint)
    except ModelError as error:
        raise error.within(str(path)) from None


def _models_named(name: str) -> Iterable[AnyModel]:
    """Yield a codec, and the entropy model that the encoder takes for it. Raises ModelError."""
    codec = codecs.find(name)
    _check(codec.model_id, codec.architecture)
    yield codec
    if (entropy := entropy_models.find_for(codec)) is not None:
        yield entropy


def _check(model_id: str, architecture: str) -> None:
    if architecture not in DECODED:
        known = ", ".join(DECODED)
        raise ModelError(
            f"model {model_id!r} of architecture {architecture}: the player decodes {known} only"
        )


def write_site(site: Site, folder: Path, *, overwrite: bool) -> None:
    """Write a site's files into a folder, which is made if needed.

    Raises OutputExists where one is there and `overwrite` is false, before anything is written.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is not a folder")
    targets = {folder / name: content for name, content in site.contents.items()}
    for target, content in list(targets.items()):
        if target.exists():
            if isinstance(content, Path) and target.samefile(content):
                del targets[target]  # a site in the folder of its files
            elif not overwrite:
                raise OutputExists(f"{target}: exists already")
    for target, content in targets.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        with (
            atomic_output(target, overwrite) as partial,
            partial.open("wb") as stream,
            open_content(content) as source,
        ):
            shutil.copyfileobj(source, stream)


def open_content(content: Content) -> BinaryIO:
    """Return a file of a site as a stream. Raises OSError."""
    return io.BytesIO(content) if isinstance(content, bytes) else content.open("rb")
