"""All that decides what an output holds, and its digest."""

import hashlib
import json
from dataclasses import asdict, dataclass

from ncodec.batch.names import CODED

_VERSION = 1  # counted up when the same settings come to give other outputs


@dataclass(frozen=True, slots=True)
class Settings:
    """How audio becomes codes, or codes audio. Of the latter only what concerns it is set."""

    decode: bool
    model_id: str = ""
    model_fingerprint: str = ""  # hexadecimal
    n_q: int = 0
    effort: str | int = 0  # a level of effort that weighs bits, or a beam that does not
    quality: float | None = None  # of the former, if it is not that of the codebooks
    entropy: str = ""
    entropy_id: str = ""  # of the entropy model, if there is one
    entropy_fingerprint: str = ""
    container: str = ""
    subtype: str = ""  # "": the container's usual one

    @property
    def suffix(self) -> str:
        """Of the outputs."""
        return f".{self.container}" if self.decode else CODED

    @property
    def digest(self) -> str:
        """The same for equal settings, in every process and version."""
        chosen = {name: value for name, value in asdict(self).items() if value is not None}
        return hashlib.sha256(json.dumps([_VERSION, chosen]).encode()).hexdigest()[:16]


COPY = "copy"  # in place of a digest, for files that are copied


def encode_settings(
    model: str, *, bandwidth_kbps: float | None = None, n_q: int | None = None,
    entropy: str | None = None, effort: str | int | None = None, quality: float | None = None,
) -> Settings:  # fmt: skip
    """Find the models. Raises UsageError, ModelMissing."""
    from ncodec.codec import choose_n_q
    from ncodec.effort import check_effort, plain_effort, weighs_bits
    from ncodec.entropy_models import choose_entropy
    from ncodec.weights import find, load_codec

    found = find(model)
    n_codebooks = choose_n_q(found, bandwidth_kbps, n_q, quality)
    coder = choose_entropy(found, entropy, n_codebooks)
    weighs = weighs_bits(effort, coder)
    return Settings(
        decode=False,
        model_id=found.model_id,
        model_fingerprint=found.fingerprint.hex(),
        n_q=n_codebooks,
        effort=check_effort(effort) if weighs else plain_effort(effort, load_codec(found)),
        quality=quality if weighs else None,
        entropy=coder.name,
        entropy_id=coder.model.model_id if coder.model else "",
        entropy_fingerprint=coder.model.fingerprint.hex() if coder.model else "",
    )


def decode_settings(container: str, subtype: str | None = None) -> Settings:
    """Raise UsageError for audio that cannot be written."""
    import io

    import numpy as np

    from ncodec.audio import write

    tried = np.zeros((1, 480), np.float32)
    write(io.BytesIO(), tried, 48000, container=container, subtype=subtype)
    return Settings(decode=True, container=container.lower(), subtype=(subtype or "").upper())
