"""All that decides what an output holds, and its digest."""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from ncodec.batch.names import CODED
from ncodec.errors import UsageError

if TYPE_CHECKING:
    from ncodec.encoding.options import EncodeOptions, ResolvedOptions

_VERSION = 2  # counted up when the same settings come to give other outputs


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """How audio is to be written, as for `ncodec.audio.AudioSink`."""

    container: str = "flac"
    subtype: str | None = None  # libsndfile's name; None: the container's usual one


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
    keep_pictures: bool = True
    conceal: bool = False  # damage of the source becomes silence
    gapless: bool | None = None  # the files of a folder follow each other; None for no
    stereo: "Settings | None" = None  # other ones for full-band stereo; see `encoding.choice`
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


def encode_settings(options: "EncodeOptions", *, gapless: bool = False) -> Settings:
    """Find the models. Raises UsageError, ModelMissing."""
    from ncodec.encoding.choice import Choices

    if options.denoise:
        raise UsageError("denoise: not for many files at once")
    choices = Choices(options)
    stereo = choices.stereo and _of_resolved(choices.stereo, gapless)
    return replace(_of_resolved(choices.usual, gapless), stereo=stereo)


def _of_resolved(resolved: "ResolvedOptions", gapless: bool) -> Settings:
    model, entropy = resolved.model, resolved.entropy
    return Settings(
        decode=False,
        model_id=model.model_id,
        model_fingerprint=model.fingerprint.hex(),
        n_q=resolved.n_q,
        effort=resolved.effort,
        quality=resolved.quality,
        entropy=entropy.name,
        entropy_id=entropy.model.model_id if entropy.model else "",
        entropy_fingerprint=entropy.model.fingerprint.hex() if entropy.model else "",
        keep_pictures=resolved.keep_pictures,
        conceal=resolved.conceal,
        gapless=gapless or None,
    )


def resolved_options(settings: Settings) -> "ResolvedOptions":
    """Find the models of `encode_settings` again, perhaps on another machine.

    Raises ModelMissing, ModelMismatch.
    """
    from ncodec.encoding.options import ResolvedOptions
    from ncodec.hub import codecs, entropy_models

    entropy_model = None
    if settings.entropy_id:
        entropy_model = entropy_models.find_exact(
            settings.entropy_id, bytes.fromhex(settings.entropy_fingerprint)
        )
    return ResolvedOptions(
        codecs.find_exact(settings.model_id, bytes.fromhex(settings.model_fingerprint)),
        settings.n_q,
        entropy_models.Entropy(settings.entropy, entropy_model),
        settings.effort,
        settings.quality,
        keep_pictures=settings.keep_pictures,
        conceal=settings.conceal,
    )


def decode_settings(options: AudioFormat) -> Settings:
    """Raise UsageError for audio that cannot be written."""
    import io

    import numpy as np

    from ncodec.audio import write

    container, subtype = options.container, options.subtype
    tried = np.zeros((1, 480), np.float32)
    write(io.BytesIO(), tried, 48000, container=container, subtype=subtype)
    return Settings(decode=True, container=container.lower(), subtype=(subtype or "").upper())
