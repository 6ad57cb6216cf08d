"""What a source is coded as: by which model, where none is named, and whether as one channel.

Shapes: C channels, T samples.
"""

import contextlib
from dataclasses import replace
from typing import Any

import numpy as np

from ncodec.audio import AudioSource
from ncodec.audio.base import Audio, Target
from ncodec.encoding.options import EncodeOptions, ResolvedOptions
from ncodec.errors import AudioError, ModelMissing, UsageError

STEREO_MODEL = "spectral-48k"  # of stereo, with all that is heard; used where it is installed
STEREO_HZ = 32_000  # sample rate of a source for it, at least
NAMED, DEFAULT = "named", "default"  # why a model was taken
FULL_BAND_STEREO, NOT_FULL_BAND_STEREO = "full_band_stereo", "not_full_band_stereo"
_BLOCK = 1 << 14  # samples that are compared at once


def are_equal(wav: Audio) -> bool:
    """Tell whether [C, T] has several channels that are the same, bit for bit."""
    return len(wav) > 1 and wav.shape[1] > 0 and bool(np.array_equal(wav[1:], wav[:-1]))


def have_equal_channels(source: Target, **opening: Any) -> bool:
    """Tell whether all of an audio file has several channels that are the same, bit for bit.

    It is read up to the first difference, which is at the start of most; False where it is damaged.

    source   a path, or a stream of its own
    opening  as AudioSource takes it
    """
    n_samples = 0
    try:
        with AudioSource(source, **opening) as audio:
            if audio.n_channels == 1:
                return False
            for block in audio.blocks(_BLOCK):
                if not are_equal(block):
                    return False
                n_samples += block.shape[1]
    except AudioError:  # which encoding it will tell
        return False
    return n_samples > 0


def is_full_band_stereo(sample_rate_hz: int, n_channels: int, equal_channels: bool) -> bool:
    """Tell whether STEREO_MODEL is for such a source."""
    return n_channels == 2 and not equal_channels and sample_rate_hz >= STEREO_HZ


class Choices:
    """EncodeOptions, resolved for sources of all kinds.

    Where no model is named and STEREO_MODEL is installed, a source of two channels that differ, at
    STEREO_HZ or more, is coded by it, if it can do what else the options say; any other source by
    the default model. So is a live stream: it may have to keep a latency, and nobody knows whether
    its channels will differ.

    Raises UsageError, ModelMissing as `EncodeOptions.resolve`.
    """

    def __init__(self, options: EncodeOptions, *, live: bool = False) -> None:
        self._is_named = options.model is not None
        self.stereo: ResolvedOptions | None = None
        self._usual: ResolvedOptions | UsageError
        if not (self._is_named or live):
            with contextlib.suppress(ModelMissing, UsageError):
                self.stereo = replace(options, model=STEREO_MODEL).resolve()
        try:
            self._usual = options.resolve(live=live)
        except UsageError as error:
            if self.stereo is None:
                raise
            self._usual = error  # of a bandwidth, say, that only the other has

    @property
    def usual(self) -> ResolvedOptions:
        """Those of all other sources. Raises UsageError."""
        if isinstance(self._usual, UsageError):
            raise self._usual
        return self._usual

    def options_for(
        self, sample_rate_hz: int, n_channels: int, *, equal_channels: bool = False
    ) -> tuple[ResolvedOptions, str]:
        """Return how a source is coded, and why by that model: NAMED, DEFAULT, ...

        equal_channels  they are known to be all the same

        Raises UsageError.
        """
        is_stereo = is_full_band_stereo(sample_rate_hz, n_channels, equal_channels)
        if self.stereo is not None and is_stereo:
            return self.stereo, FULL_BAND_STEREO
        why = NAMED if self._is_named else DEFAULT if self.stereo is None else NOT_FULL_BAND_STEREO
        return replace(self.usual, equal_channels=equal_channels), why
