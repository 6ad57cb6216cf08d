"""What codes a clip and decodes it again.

Shapes: C channels, T samples.
"""

import io
import time
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from ncodec.audio import ArraySource
from ncodec.audio.base import Audio
from ncodec.codec import encode_audio
from ncodec.decoding import Decoding
from ncodec.encoding.choice import are_equal
from ncodec.encoding.options import EncodeOptions
from ncodec.errors import UsageError
from ncodec.formats.ncx import Reader
from ncodec.hub.codecs import ModelFile, find


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """A clip that was encoded and decoded."""

    wav: Audio  # [C, T], decoded, at the clip's rate
    n_bytes: int  # of the whole file
    payload_bytes: int  # of it what is not the container's
    encode_s: float
    decode_s: float


class Coder(Protocol):
    """A codec at one bandwidth."""

    name: str
    bandwidth_kbps: float  # nominal

    def code(self, wav: Audio, sample_rate_hz: int) -> RoundTrip:
        """Encode [C, T] as a file and decode that. Raises NcodecError."""
        ...


class ModelCoder:
    """A model of ncodec's, as `ncodec encode` and `ncodec decode` would use it."""

    def __init__(self, model: ModelFile, bandwidth_kbps: float) -> None:
        self.name = model.model_id
        self.bandwidth_kbps = bandwidth_kbps  # of each stream
        self._options = EncodeOptions(model, bandwidth_kbps).resolve()

    def code(self, wav: Audio, sample_rate_hz: int) -> RoundTrip:
        """Encode [C, T] as a .ncx file in memory and decode that."""
        sink, source = io.BytesIO(), ArraySource(wav, sample_rate_hz)
        started = time.perf_counter()
        options = replace(self._options, equal_channels=are_equal(wav))
        done = encode_audio(source, sink, options)
        encoded = time.perf_counter()
        sink.seek(0)
        decoded = np.concatenate(list(Decoding(Reader(sink, "clip")).blocks()), axis=1)
        finished = time.perf_counter()
        return RoundTrip(
            decoded, done.n_bytes, done.payload_bytes, encoded - started, finished - encoded
        )


def model_coders(
    names: list[str], bandwidths_kbps: list[float] | None
) -> tuple[list[ModelFile], list[Coder], list[str]]:
    """Return the models, a coder for each of them and each bandwidth, and what to tell the user.

    bandwidths_kbps  by default the usual ones of each model; one that a model lacks is left out

    Raises ModelMissing, and UsageError for a bandwidth that no model has.
    """
    models = list({model.path: model for model in map(find, names)}.values())
    coders: list[Coder] = []
    refused: dict[float, list[tuple[str, UsageError]]] = {}
    for model in models:
        for kbps in bandwidths_kbps or model.config["bandwidths_kbps"]:
            try:
                coders.append(ModelCoder(model, kbps))
            except UsageError as error:
                refused.setdefault(kbps, []).append((model.model_id, error))
    for errors in refused.values():
        if len(errors) == len(models):
            raise errors[0][1]
    notes = [
        f"not coded: {kbps:g} kbps with {', '.join(name for name, _ in errors)}"
        for kbps, errors in refused.items()
    ]
    return models, coders, notes
