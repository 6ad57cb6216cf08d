"""`ncodec models import`, `pull`, `export` and `remove`: model files that come and go."""

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from ncodec.cli.options import force_option
from ncodec.cli.progress import download_bar, say

if TYPE_CHECKING:
    from ncodec.hub.public import Kind, PublicModel

KINDS = {
    "codec": "codec",
    "entropy": "entropy model",
    "ecdc-lm": "language model for .ecdc files",
}
_kind_option = click.option(
    "--kind", type=click.Choice(list(KINDS)),
    help="Only a model of this kind; by default the first of these that has one.",
)  # fmt: skip


@click.command("import")
@click.argument("source", metavar="FILE_OR_DIR", type=click.Path(path_type=Path))
@click.option("--as", "name", metavar="NAME", help="Name instead of the usual one.")
@force_option()
def import_model(source: Path, name: str | None, force: bool) -> None:
    """Convert a public checkpoint and install it in the cache.

    Knows EnCodec, DAC and Mimi (the authors' files, folders and .safetensors files of
    transformers), EnCodec's language models, HILCodec, SNAC (folders with config.json), and
    ncodec's own model files, which are taken as they are. NAME consists of A-Z a-z 0-9 . _ -, at
    most 64 characters, and does not start with . or -; for a language model it is the name of its
    codec.

    No code in a checkpoint is run: one that holds more than tensors is refused.

    \b
    Examples:
      ncodec models import encodec_24khz-d7cc33bc.th
      ncodec models import hilcodec/checkpoint.pth --as hilcodec_music
      ncodec models import runs/spectral/spectral.safetensors
    """  # noqa: D301
    from ncodec.hub.cache import check_name

    if name is not None:
        check_name(name)
    from ncodec.hub.importers import install, recognise

    found = recognise(source)
    path = install(found, name, overwrite=force)
    say(f"{source} -> {path}: {KINDS[found.kind]} {name or found.model_id}", quiet=False)


@click.command()
@click.argument("name", metavar="NAME")
@click.option("--from", "url", metavar="URL", help="Download the same file from this address.")
@force_option()
def pull(name: str, url: str | None, force: bool) -> None:
    """Download a public model, check it, and install it in the cache.

    NAME is encodec_24khz, encodec_48khz, dac_16khz, dac_24khz, dac_44khz, snac_24khz, snac_32khz,
    snac_44khz, mimi, or the language model of EnCodec for .ecdc files, encodec_24khz_lm or
    encodec_48khz_lm. HILCodec has to be downloaded by hand, for `ncodec models import`. An
    interrupted download resumes where it stopped.

    \b
    Example:
      ncodec models pull encodec_24khz
    """  # noqa: D301
    from ncodec.errors import ModelMissing, OutputExists
    from ncodec.hub.cache import place
    from ncodec.hub.download import discard, fetch
    from ncodec.hub.model_files import cache_folder
    from ncodec.hub.public import public_model

    model = public_model(name)
    target = place(model.kind, model.model_id)
    if target.exists() and not force:
        raise OutputExists(f"{target}: exists already")
    address = url or model.url
    if not address:
        raise ModelMissing(
            f"{name}: no address that a program can fetch is published; {model.home} has a link, "
            f"and `ncodec models import FILE --as {name}` installs the file"
        )
    part = cache_folder() / "downloads" / f"{name}.part"
    with download_bar(name) as progress:
        digest = fetch(address, part, n_bytes=model.n_bytes, sha256=model.sha256, progress=progress)
    say(f"{name}: {_how_checked(model, digest)}", quiet=False)
    from ncodec.hub.importers import install, recognise

    path = install(recognise(part, model.config), model.model_id, overwrite=force)
    discard(part)
    what = f"{KINDS[model.kind]} {model.model_id}, licence {model.licence}"
    say(f"{urlsplit(address).path.split('/')[-1]} -> {path}: {what}", quiet=False)


def _how_checked(model: "PublicModel", digest: str) -> str:
    if model.second_hand:
        return "checked against the SHA-256 that projects which use it give; its authors give none"
    if len(model.sha256) == len(digest):
        return "checked against the published SHA-256"
    if model.sha256:
        n_digits = len(model.sha256)
        return f"checked against the published first {n_digits} digits; full SHA-256 is {digest}"
    return f"not checked, no digest is published; SHA-256 is {digest}"


@click.command()
@click.argument("name", metavar="NAME")
@click.option(
    "-o", "--output", required=True, metavar="FILE", type=click.Path(path_type=Path),
    help="Name of the copy, or a folder for it.",
)  # fmt: skip
@_kind_option
@force_option()
def export(name: str, output: Path, kind: "Kind | None", force: bool) -> None:
    """Copy the file of a model, of the package or of the cache.

    `ncodec models import` installs the copy elsewhere: files made with the model need it.

    \b
    Example:
      ncodec models export spectral -o spectral.safetensors
    """  # noqa: D301
    from ncodec.hub import cache

    path = cache.export(name, output, kind, overwrite=force)
    say(f"{name} -> {path}", quiet=False)


@click.command()
@click.argument("name", metavar="NAME")
@_kind_option
@click.option(
    "--all", "companions", is_flag=True,
    help="Remove the entropy and language models made for this codec too.",
)  # fmt: skip
def remove(name: str, kind: "Kind | None", companions: bool) -> None:
    """Delete a model from the cache.

    Files that were made with it cannot be decoded without it. Models of the package stay.

    \b
    Example:
      ncodec models remove encodec_24khz --all
    """  # noqa: D301
    from ncodec.hub import cache

    removal = cache.remove(name, kind, companions=companions)
    for model in removal.removed:
        say(f"{model.path}: removed", quiet=False)
    for model in removal.left:
        say(f"{model.path}: left, of no use without {name}; --kind removes it", quiet=False)
