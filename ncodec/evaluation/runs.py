"""The plan: every clip through every coder, a row of the report for each.

Shapes: C channels, T samples.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from ncodec.audio.base import Audio
from ncodec.audio.distances import is_silent
from ncodec.errors import AudioError, NcodecError
from ncodec.evaluation.alignment import align
from ncodec.evaluation.clips import Clip, Excerpt, load_clip
from ncodec.evaluation.coders import Coder, RoundTrip
from ncodec.evaluation.metrics import Metric

MAX_EXAMPLES = 6  # clips to listen to
MAX_PLAYERS = 72  # of all of them, originals included
EXAMPLE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Row:
    """One clip through one coder."""

    clip: str
    group: str
    codec: str
    bandwidth_kbps: float  # nominal
    seconds: float
    sample_rate_hz: int
    n_channels: int
    n_bytes: int
    payload_bytes: int
    encode_speed: float  # times real time
    decode_speed: float
    lag_samples: int  # by which the decoded signal came late
    scores: dict[str, float | None]  # by the key of the metric

    @property
    def kbps(self) -> float:
        """True bit rate, of the whole file."""
        return 8 * self.n_bytes / self.seconds / 1000

    @property
    def overhead_kbps(self) -> float:
        """What of it is the container's."""
        return 8 * (self.n_bytes - self.payload_bytes) / self.seconds / 1000


@dataclass(frozen=True, slots=True)
class Example:
    """A clip to listen to: some seconds of it [C, T], and of what each coder made of them."""

    clip: str
    sample_rate_hz: int
    original: Audio
    decoded: list[tuple[Row, Audio]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All that was measured."""

    metrics: Sequence[Metric]
    rows: list[Row]
    examples: list[Example]
    problems: list[NcodecError]
    interrupted: bool = False  # there was more to measure


def evaluate(
    clips: Sequence[Clip], coders: Sequence[Coder], metrics: Sequence[Metric], excerpt: Excerpt, *,
    on_progress: Callable[[float], None] = lambda seconds: None,
    on_problem: Callable[[NcodecError], None] = lambda error: None,
) -> Evaluation:  # fmt: skip
    """Code and measure all clips; after an interrupt (SIGINT), return what there is so far.

    on_progress  called with the seconds of audio that one coder has just done
    on_problem   called with what went wrong with a clip; the others go on
    """
    problems: dict[str, NcodecError] = {}
    rows: dict[tuple[int, int], Row] = {}
    examples: dict[str, Example] = {}
    wanted = _example_names(clips, len(coders))

    def note(error: NcodecError) -> None:
        if str(error) not in problems:
            problems[str(error)] = error
            on_problem(error)

    interrupted = False
    try:
        for place, number, wav, decoded, row in _measured(clips, coders, metrics, excerpt, note):
            rows[place, number] = row
            if row.clip in wanted:
                original = _middle(wav, row.sample_rate_hz)
                example = Example(row.clip, row.sample_rate_hz, original)
                kept = _middle(decoded, row.sample_rate_hz)
                examples.setdefault(row.clip, example).decoded.append((row, kept))
            on_progress(row.seconds)
    except KeyboardInterrupt:
        interrupted = True
    ordered = [rows[key] for key in sorted(rows)]
    return Evaluation(
        metrics, ordered, list(examples.values()), list(problems.values()), interrupted
    )


def _measured(
    clips: Sequence[Clip], coders: Sequence[Coder], metrics: Sequence[Metric], excerpt: Excerpt,
    note: Callable[[NcodecError], None],
) -> Iterator[tuple[int, int, Audio, Audio, Row]]:  # fmt: skip
    """Yield the numbers of clip and coder, the clip [C, T], what it decodes to, and the row."""
    for numbers in _by_codec(coders):
        is_warm = False
        for place, clip in enumerate(clips):
            try:
                wav, rate = load_clip(clip, excerpt)
                if is_silent(wav):
                    raise AudioError(f"{clip.path}: the part to code is silent: nothing to measure")
            except NcodecError as error:
                note(error)
                continue
            for number in numbers:
                coder = coders[number]
                try:
                    if not is_warm:  # what is loaded at the first use is not to be timed
                        coder.code(wav[:, :rate], rate)
                        is_warm = True
                    row, decoded = _measure(clip, wav, rate, coder, metrics)
                except NcodecError as error:
                    note(AudioError(f"{clip.path}: {coder.name}: {error}"))
                    continue
                yield place, number, wav, decoded, row


def _by_codec(coders: Sequence[Coder]) -> Iterator[list[int]]:
    """Yield the numbers of the coders of each codec: few models stay loaded at a time."""
    for name in dict.fromkeys(coder.name for coder in coders):
        yield [number for number, coder in enumerate(coders) if coder.name == name]


def _measure(
    clip: Clip, wav: Audio, rate: int, coder: Coder, metrics: Sequence[Metric]
) -> tuple[Row, Audio]:
    coded: RoundTrip = coder.code(wav, rate)
    reference, estimate, lag = align(wav, coded.wav, rate)
    seconds = wav.shape[1] / rate
    scores = {
        metric.key: metric.compute(reference, estimate, rate)
        for metric in metrics
        if clip.is_speech or not metric.speech_only
    }
    row = Row(
        clip=clip.name,
        group=clip.group,
        codec=coder.name,
        bandwidth_kbps=coder.bandwidth_kbps,
        seconds=seconds,
        sample_rate_hz=rate,
        n_channels=wav.shape[0],
        n_bytes=coded.n_bytes,
        payload_bytes=coded.payload_bytes,
        encode_speed=seconds / coded.encode_s,
        decode_speed=seconds / coded.decode_s,
        lag_samples=lag,
        scores=scores,
    )
    return row, coded.wav


def _example_names(clips: Sequence[Clip], n_coders: int) -> set[str]:
    """Return the clips to listen to: as many of each group, the first by name."""
    n = max(1, min(MAX_EXAMPLES, MAX_PLAYERS // (n_coders + 1)))
    places: dict[str, int] = {}
    ranked = []
    for clip in clips:
        places[clip.group] = places.get(clip.group, 0) + 1
        ranked.append((places[clip.group], clip.name))
    return {name for _, name in sorted(ranked, key=lambda entry: entry[0])[:n]}


def _middle(wav: Audio, rate: int) -> Audio:
    n = min(wav.shape[1], round(EXAMPLE_SECONDS * rate))
    start = (wav.shape[1] - n) // 2
    return wav[:, start : start + n].copy()
