"""`ncodec models`: the models that are there."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ncodec.cli.errors import EXIT_FAILED, report
from ncodec.cli.options import MODELS_SCHEMA, json_option

if TYPE_CHECKING:
    from ncodec.errors import ModelInvalid
    from ncodec.weights import ModelFile


@click.command()
@json_option(MODELS_SCHEMA)
def models(as_json: bool) -> None:
    """List the models that are installed.

    Those of the package, and those of the cache: the folder models/ below $NCODEC_CACHE, or below
    ncodec/ in $XDG_CACHE_HOME or ~/.cache; entropy models lie in the folder entropy/ there. A
    model's digest is the SHA-256 of its file; an .ncx file holds its first four bytes.

    \b
    Examples:
      ncodec models
      ncodec models --json
    """  # noqa: D301
    from ncodec import entropy_models
    from ncodec.weights import installed

    broken: list[ModelInvalid] = []
    found = installed(broken.append)
    entropy_models.installed(broken.append)
    if as_json:
        listing = {"schema": MODELS_SCHEMA, "models": [_as_json(model) for model in found]}
        click.echo(json.dumps(listing, indent=2))
    elif found:
        titles = ("MODEL", "ARCHITECTURE", "PARAMETERS", "RATE", "BANDWIDTHS", "LICENCE", "DIGEST",
                  "SOURCE", "ENTROPY")  # fmt: skip
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


def _source(path: Path) -> str:
    from ncodec.weights import SHIPPED

    return "package" if path.is_relative_to(SHIPPED) else "cache"


def _row(model: "ModelFile") -> tuple[str, ...]:
    from ncodec.entropy_models import find_for

    config, entropy = model.config, find_for(model)
    bandwidths = "/".join(f"{kbps:g}" for kbps in config["bandwidths_kbps"])
    return (
        model.model_id,
        model.architecture,
        f"{model.n_parameters / 1e6:.2f} M",
        f"{config['sample_rate_hz'] / 1000:g} kHz {_channels(config['n_channels'])}",
        f"{bandwidths} kbps",
        str(model.facts.get("licence", "unknown")),
        model.sha256[:16],
        _source(model.path),
        "adaptive" if entropy is None else f"transformer {entropy.sha256[:16]}",
    )


def _channels(n_channels: int) -> str:
    return {1: "mono", 2: "stereo"}.get(n_channels, f"{n_channels} channels")


def _as_json(model: "ModelFile") -> dict[str, object]:
    from ncodec.entropy_models import find_for

    config, entropy = model.config, find_for(model)
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
        "source": _source(model.path),
        "path": str(model.path),
        "entropy_model": None
        if entropy is None
        else {
            "id": entropy.model_id,
            "n_parameters": entropy.n_parameters,
            "licence": entropy.facts.get("licence"),
            "sha256": entropy.sha256,
            "source": _source(entropy.path),
            "path": str(entropy.path),
        },
    }
