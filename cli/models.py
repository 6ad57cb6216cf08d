"""`ncodec models`: the models that are there, and the commands that change which."""

import json
from typing import TYPE_CHECKING

import click

from ncodec.cli.errors import EXIT_FAILED, report
from ncodec.cli.model_files import export, import_model, pull, remove
from ncodec.cli.options import MODELS_SCHEMA, json_option

if TYPE_CHECKING:
    from ncodec.errors import ModelInvalid
    from ncodec.hub.codecs import ModelFile
    from ncodec.hub.model_files import StoredModel


@click.group(invoke_without_command=True)
@json_option(MODELS_SCHEMA)
@click.pass_context
def models(ctx: click.Context, as_json: bool) -> None:
    """List the installed models, install models or remove them.

    Models come with the package or from the cache: the folder models/ in $NCODEC_CACHE, or in
    ncodec/ of $XDG_CACHE_HOME or ~/.cache. Entropy models are in the folder entropy/ there,
    language models for .ecdc files in ecdc-lm/. A model's digest is the SHA-256 of its file; an
    .ncx file holds its first four bytes.

    \b
    Examples:
      ncodec models
      ncodec models pull encodec_24khz
      ncodec models import checkpoint.pth --as my_codec
    """  # noqa: D301
    if ctx.invoked_subcommand is None:
        _list(as_json=as_json)
    elif as_json:
        raise click.UsageError("--json: only without a command, or after list", ctx)


@models.command("list")
@json_option(MODELS_SCHEMA)
def list_models(as_json: bool) -> None:
    """List the models that are installed, as `ncodec models` alone does.

    \b
    Example:
      ncodec models list --json
    """  # noqa: D301
    _list(as_json=as_json)


for _command in (import_model, pull, export, remove):
    models.add_command(_command)


def _list(*, as_json: bool) -> None:
    from ncodec.hub.codecs import CODECS
    from ncodec.hub.entropy_models import ENTROPY_MODELS
    from ncodec.hub.language_models import LANGUAGE_MODELS

    broken: list[ModelInvalid] = []
    found = CODECS.installed(broken.append)
    for companions in (ENTROPY_MODELS, LANGUAGE_MODELS):
        companions.installed(broken.append)
    if as_json:
        listing = {"schema": MODELS_SCHEMA, "models": [_as_json(model) for model in found]}
        click.echo(json.dumps(listing, indent=2))
    elif found:
        titles = ("MODEL", "ARCHITECTURE", "PARAMETERS", "RATE", "BANDWIDTHS", "LICENCE", "DIGEST",
                  "SOURCE", "ENTROPY", "ECDC-LM")  # fmt: skip
        rows = [titles, *(_row(model) for model in found)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            click.echo("  ".join(cells).rstrip())
    elif not broken:
        click.echo("no models", err=True)
    for error in broken:
        report(error)
    click.get_current_context().exit(EXIT_FAILED if broken else 0)


def _row(model: "ModelFile") -> tuple[str, ...]:
    from ncodec.hub import entropy_models, language_models

    config, entropy = model.config, entropy_models.find_for(model)
    language_model = language_models.find_for(model.model_id)
    bandwidths = "/".join(f"{kbps:g}" for kbps in config["bandwidths_kbps"])
    return (
        model.model_id,
        model.architecture,
        f"{model.n_parameters / 1e6:.2f} M",
        f"{config['sample_rate_hz'] / 1000:g} kHz {_channels(config['n_channels'])}",
        f"{bandwidths} kbps",
        str(model.facts.get("licence", "unknown")),
        model.sha256[:16],
        _source(model),
        entropy_models.WITHOUT_MODEL if entropy is None else f"transformer {entropy.sha256[:16]}",
        "-" if language_model is None else language_model.sha256[:16],
    )


def _channels(n_channels: int) -> str:
    return {1: "mono", 2: "stereo"}.get(n_channels, f"{n_channels} channels")


def _source(model: "StoredModel") -> str:
    from ncodec.hub.model_files import in_package

    return "package" if in_package(model) else "cache"


def _as_json(model: "ModelFile") -> dict[str, object]:
    from ncodec.hub import entropy_models, language_models

    config = model.config
    return {
        "id": model.model_id,
        "architecture": model.architecture,
        "n_parameters": model.n_parameters,
        "sample_rate_hz": config["sample_rate_hz"],
        "n_channels": config["n_channels"],
        "n_codebooks": config["n_codebooks"],
        "codebook_size": config["codebook_size"],
        "bandwidths_kbps": list(config["bandwidths_kbps"]),
        "default_bandwidth_kbps": config["default_bandwidth_kbps"],
        "licence": model.facts.get("licence"),
        "sha256": model.sha256,
        "source": _source(model),
        "path": str(model.path),
        "entropy_model": _companion_json(entropy_models.find_for(model)),
        "ecdc_lm": _companion_json(language_models.find_for(model.model_id)),
    }


def _companion_json(model: "StoredModel | None") -> dict[str, object] | None:
    if model is None:
        return None
    return {
        "id": model.model_id,
        "n_parameters": model.n_parameters,
        "licence": model.facts.get("licence"),
        "sha256": model.sha256,
        "source": _source(model),
        "path": str(model.path),
    }
