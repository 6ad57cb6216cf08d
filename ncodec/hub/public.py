"""The models that others publish and ncodec can run, read from public.toml."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ncodec.errors import UsageError

Kind = Literal["codec", "entropy", "ecdc-lm"]

_TABLE = Path(__file__).with_name("public.toml")


@dataclass(frozen=True, slots=True)
class PublicModel:
    """Where a model can be had, and how to tell that it is the right one."""

    name: str
    kind: Kind
    model_id: str  # what it is installed as; a language model as the codec that it is for
    url: str  # empty where none that a program can fetch is published
    n_bytes: int  # 0 where it is not published
    sha256: str  # of the file at `url`; its first digits where only those are published
    licence: str  # of the authors' repository
    home: str
    second_hand: bool = False  # the SHA-256 is not its authors', but of projects that use the file
    entropy: str = ""  # the row of an entropy model for its codes, which is fetched with it
    config: Mapping[str, Any] | None = None  # what its config.json says, where that is needed


@functools.cache
def public_models() -> Mapping[str, PublicModel]:
    """Return the table, by name."""
    import tomllib

    table = tomllib.loads(_TABLE.read_text("utf-8"))
    return {name: PublicModel(name, **row) for name, row in table.items()}


def hint(name: str) -> str:
    """Return how a model or architecture of that name can be had, nothing if it is not public."""
    found = [model for key, model in public_models().items() if f"{key}_".startswith(f"{name}_")]
    if not found:
        return ""
    model = found[0]
    how = f"pull {model.name}" if model.url else f"import FILE --as {model.name}"
    where = "" if model.url else f"; {model.home} has a link to the file"
    return f"; `ncodec models {how}` installs it{where}"


def public_model(name: str) -> PublicModel:
    """Return the row of that name. Raises UsageError."""
    models = public_models()
    if name not in models:
        raise UsageError(f"{name!r} is no public model; known: {', '.join(models)}")
    return models[name]
