""".ncx files to audio files, the codes of short ones decoded together.

Shapes: S streams, Q codebooks, F frames.
"""

from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path

from ncodec.audio import AudioSink
from ncodec.batch.batch_decode import ShortFile, decode_together, read_short
from ncodec.batch.protocols import Progress, Result
from ncodec.batch.settings import Settings
from ncodec.decoding import DecodeOptions, Decoding
from ncodec.entropy import CODER_NUMBERS, open_coder
from ncodec.errors import FormatError
from ncodec.formats.ncx import Reader, Writer


class Decoder:
    """See Converter. Models are loaded as files need them, and kept."""

    def __init__(self, settings: Settings, *, n_threads: int = 1) -> None:
        self._settings, self._n_threads = settings, n_threads

    def prepare(self, name: str, path: Path) -> ShortFile | None:
        """See Converter."""
        return read_short(name, path)

    def compute(self, prepared: Sequence[ShortFile]) -> list[ShortFile]:
        """See Converter."""
        return decode_together(prepared)

    def write(self, one: ShortFile, path: Path) -> Result:
        """See Converter."""
        packed = BytesIO(_packed(one))
        return self._decode(Reader(packed, one.reader.name), path, lambda share: None)

    def convert(self, name: str, source: Path, path: Path, on_progress: Progress) -> Result:
        """See Converter."""
        with source.open("rb") as stream:
            return self._decode(Reader(stream, name), path, on_progress)

    def check(self, paths: Sequence[Path]) -> list[str]:
        """See Converter. Decoding checks the codes, and the sink that all samples are there."""
        return [""] * len(paths)

    def _decode(self, reader: Reader, path: Path, on_progress: Progress) -> Result:
        decoding = Decoding(reader, DecodeOptions(n_threads=self._n_threads))
        container = self._settings.container
        with AudioSink(
            path, decoding.sample_rate_hz, decoding.n_channels, n_samples=decoding.n_samples,
            container=container, subtype=self._settings.subtype or None,
            tags=decoding.header.tags, pictures=decoding.header.pictures, overwrite=True,
        ) as sink:  # fmt: skip
            for block in decoding.blocks():
                sink.write(block)
                on_progress(block.shape[1] / max(1, decoding.n_samples or 0))
        remarks: list[str] = []
        if sink.n_clipped:
            n_values = sink.n_written * sink.n_channels
            remarks.append(f"{sink.n_clipped} of {n_values} samples clipped")
        if sink.unwritten:
            remarks.append(f"without room for {sink.unwritten}")
        return Result(sink.n_written / decoding.sample_rate_hz, tuple(remarks))


def _packed(file: ShortFile) -> bytes:
    """Return a file with plainly packed codes, which are read in no time."""
    header = replace(
        file.reader.header, entropy=CODER_NUMBERS["packed"], entropy_model_id="",
        entropy_fingerprint=b"",
    )  # fmt: skip
    coder = open_coder(
        "packed", n_streams=header.n_streams, n_codebooks=header.n_codebooks,
        codebook_size=header.codebook_size,
    )  # fmt: skip
    if file.codes is None or file.reader.trailer is None:
        raise FormatError(f"{file.reader.name}: its codes are not known")
    packed = BytesIO()
    writer = Writer(packed, header)
    for packet, codes in zip(file.packets, file.codes, strict=True):
        writer.write_packet(packet.n_frames, coder.encode(codes), scales=packet.scales)
    writer.finish(file.reader.trailer.codes_digest)
    return packed.getvalue()
