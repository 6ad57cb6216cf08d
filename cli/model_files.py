"""`ncodec models import`, `pull`, `export` and `remove`: model files that come and go."""

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from ncodec.cli.options import force_option
from ncodec.cli.progress import download_bar, say

if TYPE_CHECKING:
    from ncodec.hub.importers import Found
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
    if found.kind == "codec":
        _tell_of_entropy(path)


@click.command()
@click.argument("name", metavar="NAME")
@click.option("--from", "url", metavar="URL", help="Download the same file from this address.")
@force_option()
def pull(name: str, url: str | None, force: bool) -> None:
    """Download a public model, check it, and install it in the cache.

    NAME is encodec_24khz, encodec_32khz, encodec_48khz, dac_16khz, dac_24khz, dac_44khz,
    snac_24khz, snac_32khz, snac_44khz, mimi, or the language model of EnCodec for .ecdc files,
    encodec_24khz_lm or encodec_48khz_lm. HILCodec has to be downloaded by hand, for `ncodec models
    import`. An interrupted download resumes where it stopped. Where an entropy model for a codec is
    public, it is downloaded too.

    \b
    Example:
      ncodec models pull encodec_24khz
    """  # noqa: D301
    from ncodec.errors import OutputExists
    from ncodec.hub.cache import place
    from ncodec.hub.public import public_model

    model = public_model(name)
    target = place(model.kind, model.model_id)
    companion = public_model(model.entropy) if model.entropy else None
    lacks = companion is not None and not place("entropy", companion.model_id).exists()
    if force or not target.exists():
        _fetch_and_install(model, url, force=force)
    elif not lacks:
        raise OutputExists(f"{target}: exists already")
    if companion is not None and (force or lacks):
        _fetch_and_install(companion, None, force=force, codec=target)
    if model.kind == "codec":
        _tell_of_entropy(target)


def _fetch_and_install(
    model: "PublicModel", url: str | None, *, force: bool, codec: Path | None = None
) -> None:
    """Fetch a model, from `url` if given, and install it. Raises NcodecError.

    codec  the installed codec that an entropy model must be for
    """
    from ncodec.errors import ModelInvalid, ModelMissing
    from ncodec.hub.download import discard, fetch
    from ncodec.hub.model_files import cache_folder

    name, address = model.name, url or model.url
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

    found = recognise(part, model.config)
    problem = _unlike(found, model, codec)
    if problem:
        discard(part)
        raise ModelInvalid(f"{address}: {problem}")
    path = install(found, model.model_id, overwrite=force)
    discard(part)
    what = f"{KINDS[model.kind]} {model.model_id}, licence {model.licence}"
    say(f"{urlsplit(address).path.split('/')[-1]} -> {path}: {what}", quiet=False)


def _unlike(found: "Found", model: "PublicModel", codec: Path | None) -> str:
    """Return what is wrong with a fetched model, "" for nothing."""
    from ncodec.hub.codecs import CODECS
    from ncodec.hub.entropy_models import EntropyModelFile

    if found.kind != model.kind:
        return f"{KINDS[found.kind]}, expected {KINDS[model.kind]}"
    entropy = getattr(found, "model", None)
    if codec is None or not isinstance(entropy, EntropyModelFile):
        return ""
    own = CODECS.describe(codec)
    ours = f"{own.model_id} {own.fingerprint.hex()}"
    theirs = f"{entropy.codec_id} {entropy.codec_fingerprint.hex()}"
    return "" if theirs == ours else f"entropy model for the codec {theirs}, expected {ours}"


def _tell_of_entropy(path: Path) -> None:
    """Say how the codes of an installed codec are coded, where it has no entropy model."""
    from ncodec.hub.codecs import CODECS
    from ncodec.hub.entropy_models import find_for

    codec = CODECS.describe(path)
    if find_for(codec) is not None:
        return
    name, run = codec.model_id, f"runs/{codec.model_id}-entropy"
    say(
        f"{name}: no entropy model is installed; its codes are packed by the adaptive coder. To "
        f"train one on your audio:\n  ncodec train-entropy {name} FOLDER -o {run} && "
        f"ncodec models import {run}/{name}.safetensors",
        quiet=False,
    )


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
