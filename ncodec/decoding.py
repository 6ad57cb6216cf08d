"""The way back: packets -> codes -> audio.

Shapes: C channels, T samples, S streams, Q codebooks, F frames; see `ncodec.codec`.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ncodec.audio import Resampler, resampled_length
from ncodec.codes import decode_packets, source_length
from ncodec.errors import InvalidField, LimitExceeded, ModelError
from ncodec.formats.ncx import Packet, Reader
from ncodec.models.base import CodedChunk
from ncodec.threads import one_thread
from ncodec.weights import find_exact, load_codec

MAX_PACKET_SECONDS = 40.0  # that are decoded at once: bounds the memory a file can ask for


class Decoding:
    """A .ncx stream on its way back to audio.

    Attributes:
        header: of the file.
        sample_rate_hz: of the audio that comes out.
        n_channels: of the audio that comes out.
        n_samples: per channel; None if only the trailer will tell.
    """

    def __init__(self, reader: Reader, *, codec_rate: bool = False) -> None:
        self.header = reader.header
        self._reader = reader
        try:
            model = find_exact(self.header.model_id, self.header.model_fingerprint)
        except ModelError as error:
            raise type(error)(f"{reader.name}: made with {error}") from None
        self._codec = load_codec(model)
        self._check_header()
        self.n_channels = self.header.n_channels
        source_rate_hz = self.header.source_sample_rate_hz
        self.sample_rate_hz = self.header.sample_rate_hz if codec_rate else source_rate_hz
        self.n_samples = self._at(self.sample_rate_hz, self.header.n_samples)

    def _check_header(self) -> None:
        """Raise InvalidField where the header contradicts the model that it names."""
        header, config = self.header, self._codec.config
        wanted = {
            "architecture": self._codec.number,
            "sample_rate_hz": config.sample_rate_hz,
            "samples_per_frame": config.samples_per_frame,
            "codebook_size": config.codebook_size,
        }
        if header.n_channels > 1:  # a single one may be coded by a codec of more
            wanted["channels_per_stream"] = config.n_channels
        for name, value in wanted.items():
            if getattr(header, name) != value:
                raise InvalidField(
                    f"{self._reader.name}: header: {name} is {getattr(header, name)}, but model "
                    f"{header.model_id!r} has {value}"
                )
        if header.n_codebooks > config.n_codebooks:
            raise InvalidField(
                f"{self._reader.name}: header: {header.n_codebooks} codebooks, but model "
                f"{header.model_id!r} has {config.n_codebooks}"
            )

    def _at(self, sample_rate_hz: int, n_source: int | None) -> int | None:
        """Return the length at a rate of `n_source` samples at the source's."""
        if n_source is None:
            return None
        return resampled_length(n_source, self.header.source_sample_rate_hz, sample_rate_hz)

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """Yield float32 [C, T] blocks, `n_samples` samples in all.

        Raises FormatError for a damaged file, after all that comes before the damage.
        """
        header, codec = self.header, self._codec
        resampler = Resampler(header.sample_rate_hz, self.sample_rate_hz, header.n_channels)
        n_frames = n_decoded = n_given = 0
        state = codec.start_decoder(header.n_streams)
        held = np.zeros((header.n_channels, 0), np.float32)  # what may lie behind the end
        ended = False  # within a segment of the codec, so that nothing may follow
        for packet, codes in decode_packets(self._reader, self._frame_limit()):
            if ended:
                raise InvalidField(
                    f"{self._place(packet)}: follows one that ends within a segment of "
                    f"{codec.segment_frames} frames"
                )
            n_frames += packet.n_frames
            chunk = CodedChunk(torch.from_numpy(codes), self._scales(packet))
            ended = not codec.is_whole(chunk)
            wav = self._run(chunk, state)
            if not np.isfinite(wav).all():
                raise InvalidField(f"{self._place(packet)}: its scales are beyond what audio holds")
            wav = np.concatenate([held, wav], axis=1)
            n_sure = max(0, wav.shape[1] - header.samples_per_frame)
            held = wav[:, n_sure:]
            n_decoded += n_sure
            wav = resampler.push(wav[:, :n_sure])
            n_given += wav.shape[1]
            yield wav
        n_source = source_length(self._reader)
        self._check_length(n_source, n_frames)
        nothing = torch.zeros(header.n_streams, header.n_codebooks, 0, dtype=torch.int64)
        chunk = CodedChunk(nothing, torch.zeros(header.n_streams, 0))
        left = (self._at(header.sample_rate_hz, n_source) or 0) - n_decoded
        wav = np.concatenate([held, self._run(chunk, state, last=True)], axis=1)
        wav = resampler.push(wav[:, :left], last=True)
        self.n_samples = self._at(self.sample_rate_hz, n_source) or 0
        wav = wav[:, : self.n_samples - n_given]
        yield np.pad(wav, ((0, 0), (0, self.n_samples - n_given - wav.shape[1])))

    def _run(self, chunk: CodedChunk, state: Any, *, last: bool = False) -> NDArray[np.float32]:
        """Return the audio [C, T] of a chunk; nothing of the caller's runs in these settings."""
        with one_thread, torch.inference_mode():
            wav = self._codec.decode_chunk(chunk, state, last=last)
            if wav.shape[1] > self.header.channels_per_stream:
                wav = wav.mean(1)
            return wav.reshape(self.n_channels, -1).numpy()

    def _place(self, packet: Packet) -> str:
        return f"{self._reader.name}: packet {packet.number} at byte {packet.offset}"

    def _frame_limit(self) -> int | None:
        """Return how many frames the file may hold, None if only its trailer will tell."""
        n_codec = self._at(self.header.sample_rate_hz, self.header.n_samples)
        return None if n_codec is None else self._codec.n_frames(n_codec)

    def _scales(self, packet: Packet) -> torch.Tensor:
        """Return the scales [S, N] of a packet. Raises InvalidField for another number of them."""
        limit = round(MAX_PACKET_SECONDS * self.header.frame_rate_hz)
        if packet.n_frames > limit:
            raise LimitExceeded(
                f"{self._place(packet)}: {packet.n_frames} frames, at most {limit} are decoded at "
                "once"
            )
        found, odd = divmod(len(packet.scales), self.header.n_streams)
        counts = self._codec.scale_counts(packet.n_frames)
        if odd or found not in counts:
            wanted = " or ".join(str(count * self.header.n_streams) for count in counts)
            raise InvalidField(
                f"{self._place(packet)}: {len(packet.scales)} scales, model "
                f"{self.header.model_id!r} has {wanted}"
            )
        return torch.tensor(packet.scales).reshape(self.header.n_streams, -1)

    def _check_length(self, n_source: int, n_frames: int) -> None:
        n_codec = self._at(self.header.sample_rate_hz, n_source) or 0
        wanted = self._codec.n_frames(n_codec)
        if n_frames != wanted:
            raise InvalidField(
                f"{self._reader.name}: {n_source} samples need {wanted} frames, "
                f"the packets hold {n_frames}"
            )
