"""A whole .ncx file out of what is whole of a damaged one.

Its packets stay as they are, bit for bit. Where some are lost between others there is silence, so
that all else keeps its time; what is lost at the end is cut off. It decodes to what
`Decoding` gives of the damaged file with a `RecoveringReader`.
"""

from dataclasses import dataclass

from ncodec.bitstream.access import InOrder
from ncodec.bitstream.codes import Codes, Lost, check_digest, digest_bytes
from ncodec.bitstream.damaged_header import open_corrected
from ncodec.bitstream.gaps import Gap, Gaps
from ncodec.bitstream.recovery import RecoveringReader
from ncodec.bitstream.span_codes import codec_for, codes_of
from ncodec.bitstream.timeline import Span, Timeline, with_edits
from ncodec.errors import DigestMismatch, FormatError
from ncodec.formats.ncx import CodesDigest, Damage, Edit, Header, Packet, Writer
from ncodec.formats.streams import Seekable, Writable


@dataclass(frozen=True, slots=True)
class Examined:
    """What is wrong with a file, and what can be made of it."""

    header: Header  # of the repaired file
    kept: tuple[range, ...]  # numbers that the packets have in the damaged file
    digest: bytes  # of their codes
    gaps: tuple[Gap, ...]  # that become silence
    cut_off: tuple[Gap, ...]  # at the end
    damage: tuple[Damage, ...]

    @property
    def is_whole(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.gaps or self.cut_off or self.damage)

    @property
    def n_packets(self) -> int:
        """That are kept."""
        return sum(map(len, self.kept))


def examine(stream: Seekable, name: str) -> Examined:
    """Find out what is whole of a file.

    Raises FormatError where nothing is, or not even its header can be read; ModelError.
    """
    recovery = RecoveringReader(stream, name)
    reader, header = recovery.reader, recovery.reader.header
    codec = codec_for(reader)
    timeline = Timeline(codec, header, header.source_sample_rate_hz, recovery.n_samples)
    packets = InOrder(recovery.items(timeline.n_frames), recovery.n_samples)
    plan = _RepairPlan(timeline)
    try:
        for span in timeline.spans(0, None):
            plan.start(span)
            for frame, found in codes_of(packets, span, reader, codec, recovering=True):
                if isinstance(found, Lost):
                    plan.lose(frame, found)
                else:
                    plan.add(frame, *found)
            plan.end(reader.n_samples)
        for _ in packets.between(0, None):
            pass  # up to the trailer
        if not recovery.damage and not plan.gaps.found:
            check_digest(reader, plan.digest)
    except DigestMismatch as error:
        plan.gaps.note_fault(error)
        plan.n_inner_gaps = 1
    if not plan.kept and timeline.n_frames != 0:
        raise FormatError(f"{name}: nothing can be saved: no packet is whole, or none by itself")
    try:
        repaired = with_edits(header, plan.edits, timeline)
    except FormatError as error:
        raise error.within(name) from None
    gaps, n_inner = plan.gaps.found, plan.n_inner_gaps
    return Examined(
        repaired, tuple(plan.kept), plan.digest.digest(), tuple(gaps[:n_inner]),
        tuple(gaps[n_inner:]), tuple(recovery.damage),
    )  # fmt: skip


def write_repaired(stream: Seekable, name: str, found: Examined, sink: Writable) -> None:
    """Write the whole file. Raises FormatError if the damaged one is no longer what it was."""
    stream.seek(0)
    damage: list[Damage] = []
    writer = Writer(sink, found.header)
    left = [number for some in reversed(found.kept) for number in (some.stop, some.start)]
    n_written = 0
    for packet in open_corrected(stream, name, damage.append):
        while left and packet.number >= left[-1]:
            left.pop()
        if len(left) % 2:  # between a start and a stop
            writer.write_packet(
                packet.n_frames, packet.payload, dependent=packet.dependent, scales=packet.scales
            )
            n_written += 1
    if n_written != found.n_packets:
        raise FormatError(f"{name}: changed while it was read")
    writer.finish(found.digest, found.header.n_samples)


@dataclass(slots=True)
class _Run:
    """Packets that follow each other without a loss."""

    start_frame: int  # of the file
    end_frame: int
    numbers: range  # of its packets
    waiting: list[bytes]  # its codes, while it is too short to be audible by itself


class _RepairPlan:
    """The edits of the repaired file: contiguous runs of the damaged one, and silence between them.

    Attributes:
        kept: numbers of the packets, in ranges.
        digest: of their codes.
        gaps: what is lost.
        n_inner_gaps: how many of these have something whole after them.
    """

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._edits: list[Edit] = []
        self._n_audible = 0  # edits up to the last that does not stand for what is lost
        self._run: _Run | None = None
        self.kept: list[range] = []
        self.digest = CodesDigest()
        self.gaps = Gaps(timeline)
        self.n_inner_gaps = 0

    @property
    def edits(self) -> list[Edit]:
        """The edits, without what is lost at the end."""
        return self._edits[: self._n_audible]

    def start(self, span: Span) -> None:
        """A span begins."""
        self._span = span
        self._place = span.source_start_sample  # of the run of the codec, up to which the edits go
        self._end_frame = span.start_frame  # of those that were read

    def add(self, frame: int, packet: Packet, codes: Codes) -> None:
        """A packet is whole."""
        if self._run is None:
            numbers = range(packet.number, packet.number)
            self._run = _Run(frame, frame, numbers, [])
        run, self._end_frame = self._run, frame + packet.n_frames
        run.end_frame = self._end_frame
        run.numbers = range(run.numbers.start, packet.number + 1)
        run.waiting.append(digest_bytes(codes))
        if self._span.source_end_sample is not None and self._audible(run) is not None:
            self._digest(run)  # it will be kept

    def lose(self, frame: int, lost: Lost) -> None:
        """Frames are lost."""
        self._close()
        self._end_frame = frame + lost.n_frames
        self.gaps.note(self._span, frame, self._end_frame, lost.error)

    def end(self, n_source: int | None) -> None:
        """The span ends; `n_source` samples of the source, as far as header and trailer tell."""
        span = self._span
        if span.is_silence:
            self._silence(span.source_end_sample or 0)
            self._tell()
            return
        self._close(n_source)
        end = n_source if span.source_end_sample is None else span.source_end_sample
        self._silence((end or 0) - self._place)

    def _close(self, n_source: int | None = None) -> None:
        """The run ends; what it cannot give by itself is silence."""
        run, self._run = self._run, None
        audible = None if run is None else self._audible(run, n_source)
        if run is None or audible is None:
            return
        low, high = audible
        self._digest(run)
        self._silence(low - self._place)
        n_frames = run.end_frame - run.start_frame
        self._edits.append(
            Edit(run.start_frame + self._span.frame_offset, n_frames, low, high - low)
        )
        self._place = high
        self._tell()
        self.kept.append(run.numbers)

    def _tell(self) -> None:
        """What there is up to here stays."""
        self._n_audible, self.n_inner_gaps = len(self._edits), len(self.gaps.found)

    def _digest(self, run: _Run) -> None:
        for codes in run.waiting:
            self.digest.update(codes)
        run.waiting = []

    def _audible(self, run: _Run, n_source: int | None = None) -> tuple[int, int] | None:
        """Return the audible samples [low, high) of a run, None for none."""
        low = self._timeline.audible_start(self._span, run.start_frame)
        high = self._timeline.audible_end(self._span, run.end_frame, n_source)
        return (low, high) if low < high else None

    def _silence(self, n_samples: int) -> None:
        """Add so many samples of silence."""
        if n_samples > 0:
            before = self._edits.pop().n_samples if self._ends_lost() else 0
            self._edits.append(Edit(0, 0, 0, before + n_samples))

    def _ends_lost(self) -> bool:
        """Whether the last edit stands for what is lost."""
        return len(self._edits) > self._n_audible and self._edits[-1].is_silence
