"""Audio -> .ecdc files."""

from collections.abc import Callable

import numpy as np

from ncodec.audio import MixedSource, Source, resampled_length
from ncodec.bitstream.ecdc.codes import write_ecdc
from ncodec.bitstream.ecdc.convert import cut_segments, ecdc_header, ecdc_name, weights_left_out
from ncodec.encoding.encoder import Encoded, Encoding
from ncodec.encoding.options import ResolvedOptions
from ncodec.errors import UsageError, plural
from ncodec.formats.ecdc import MODELS
from ncodec.formats.streams import Writable


def encode_ecdc(
    source: Source, sink: Writable, options: ResolvedOptions, *, lm: bool = False,
    on_progress: Callable[[int], None] = lambda n_samples: None,
) -> Encoded:  # fmt: skip
    """Encode audio into an .ecdc file. Its codes are held until the length is known.

    lm  code them with EnCodec's language model, in place of the entropy coder of `options`

    Raises UsageError for a model or a source that an .ecdc file cannot hold; as `encode_audio`.
    """
    model = options.model
    name = ecdc_name(model)
    if name is None:
        raise UsageError(f"model {model.model_id!r}: .ecdc files are of {' and '.join(MODELS)}")
    n_channels = MODELS[name].n_channels
    left_out = weights_left_out(model, name)
    tags, pictures = source.metadata.tags, source.metadata.pictures
    if tags:
        left_out.append(f"tags ({', '.join(dict(tags))})")
    if pictures and options.keep_pictures:
        left_out.append(plural(len(pictures), "picture"))
    if n_channels == 1 < source.n_channels:
        left_out.append(f"its {source.n_channels} channels, which are mixed to one")
    elif source.n_channels not in (1, n_channels):
        raise UsageError(
            f"{source.name}: {source.n_channels} channels; an .ecdc file of {name} has {n_channels}"
        )
    mixed = MixedSource(source) if n_channels == 1 < source.n_channels else source
    encoding = Encoding(mixed.name, mixed.sample_rate_hz, mixed.n_channels, options)
    packets = [
        (chunk.codes[0].astype(np.uint16), tuple(chunk.scales.flatten().tolist()))
        for chunk in encoding.chunks(mixed, on_progress)
    ]
    rate = encoding.codec.config.sample_rate_hz
    if rate != source.sample_rate_hz:
        left_out.append(f"the source's sample rate {source.sample_rate_hz} Hz")
    n_samples = resampled_length(encoding.n_samples, source.sample_rate_hz, rate)
    header = ecdc_header(source.name, name, n_samples, options.n_q, lm)
    n_bytes = write_ecdc(sink, header, cut_segments(header, packets))
    return Encoded(
        encoding.n_samples, source.sample_rate_hz, source.n_channels, mixed.n_channels,
        n_bytes, n_bytes - len(header.pack()), tuple(left_out),
    )  # fmt: skip
