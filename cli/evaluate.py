"""`ncodec evaluate`: how good codecs are on audio of your own."""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ncodec.cli.errors import EXIT_FAILED, EXIT_OK, report, warn
from ncodec.cli.inputs import refuse_ncx
from ncodec.cli.options import force_option, held_out_option, json_option, quiet_option
from ncodec.cli.progress import progress_bar, say
from ncodec.errors import AudioError, OutputExists, UsageError, plural

if TYPE_CHECKING:
    from ncodec.evaluation import Coder, Report

EVALUATE_SCHEMA = "ncodec.evaluate/1"
PAGE = "index.html"


@click.command()
@click.argument("files", nargs=-1, metavar="[FILE]...", type=click.Path(path_type=Path))
@click.option(
    "--set",
    "folders",
    multiple=True,
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="A folder of audio; its sub-folders are groups of their own. May be given several times.",
)
@held_out_option("Of the folders, only files")
@click.option(
    "--models",
    default="spectral",
    show_default=True,
    metavar="A,B",
    help="Ids of models, or names of architectures.",
)
@click.option(
    "--bandwidths",
    metavar="KBPS,...",
    help="Nominal kbit/s of each code stream; the usual ones of each model by default.",
)
@click.option(
    "--against",
    type=click.Choice(("opus",)),
    help="Another codec to measure as well; opus needs opusenc and opusdec.",
)
@click.option(
    "--against-bandwidths",
    metavar="KBPS,...",
    help="Its bandwidths, of all channels; for opus 6,8,12,16,24 by default, and 16,24,32,48 where "
    "a clip is stereo.",
)
@click.option(
    "--metrics",
    metavar="KEY,...",
    help="Metrics to compute; by default si_sdr, mel_distance, stft_distance, stoi, pesq_wb and "
    "visqol, and where a clip is stereo visqol_lr, visqol_side, ild_error, ipd_error, ic_error and "
    "pre_echo, those whose packages are installed.",
)
@click.option(
    "--speech",
    default="*speech*",
    show_default=True,
    metavar="PATTERN",
    help="Clips whose group or name matches are speech: STOI and PESQ are measured.",
)
@click.option(
    "--limit",
    type=click.FloatRange(min=0),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="Code the middle of each clip, of at most this length; 0 for all of it.",
)
@click.option(
    "--clips",
    type=click.IntRange(min=1),
    metavar="N",
    help="At most this many clips of a group, evenly spread over their names; all by default.",
)
@click.option(
    "--rate",
    type=click.IntRange(min=8000, max=192_000),
    metavar="HZ",
    help="Resample clips to this rate first; by default they keep their own.",
)
@click.option("--mono", is_flag=True, help="Mix clips to mono first.")
@click.option(
    "-o",
    "--output",
    "folder",
    required=True,
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Folder for the report.",
)
@json_option(EVALUATE_SCHEMA)
@force_option()
@quiet_option()
def evaluate(
    files: tuple[Path, ...], folders: tuple[Path, ...], held_out: Path | None, models: str,
    bandwidths: str | None, against: str | None, against_bandwidths: str | None,
    metrics: str | None, speech: str, limit: float, clips: int | None, rate: int | None, mono: bool,
    folder: Path, as_json: bool, force: bool, quiet: bool,
) -> None:  # fmt: skip
    """Measure the quality of models on audio files.

    Encodes and decodes each clip with each model at each bandwidth, and compares the result with
    the original. FOLDER then holds index.html, one page with the means, curves, spectrograms and
    players; report.json, rows.csv and summary.csv; and the curves as PNG files.

    Prints the means of each group as a Markdown table. If interrupted, it reports what it has. pip
    install 'ncodec[evaluate,pesq]' installs the packages of all metrics; docs/EVALUATION.md
    explains each of them.

    \b
    Examples:
      ncodec evaluate song.flac talk.wav -o report
      ncodec evaluate --set clips/ --bandwidths 1.5,3,6 --against opus -o report
    """  # noqa: D301
    if not files and not folders:
        raise UsageError("nothing to measure: give files, or a folder with --set")
    if held_out is not None and not folders:
        raise UsageError("--held-out chooses from folders: it needs --set")
    if against_bandwidths is not None and against is None:
        raise UsageError("--against-bandwidths needs --against")
    kbps = _numbers("--bandwidths", bandwidths)
    against_kbps = _numbers("--against-bandwidths", against_bandwidths)
    _check_folder(folder, overwrite=force)
    failed: list[int] = []
    readable = [path for path in files if _is_audio(path, failed)]
    if not readable and not folders:
        click.get_current_context().exit(EXIT_FAILED)

    from ncodec import evaluation
    from ncodec.audio.stderr import catch_decoders
    from ncodec.training.config import read_config

    catch_decoders()

    loaded, coders, refused = evaluation.model_coders(_names(models) or [], kbps)
    patterns = None if held_out is None else read_config(held_out).data.validation
    found = evaluation.find_clips(
        readable, folders, patterns=patterns, speech=speech, per_group=clips
    )
    excerpt = evaluation.Excerpt(limit or None, rate, mono)
    stereo = evaluation.has_stereo(found, excerpt)
    chosen, notes = evaluation.choose_metrics(_names(metrics), stereo=stereo)
    coders += _yardsticks(against, against_kbps, stereo=stereo)
    notes = [*notes, *evaluation.plot_notes(), *refused]
    for note in notes:
        warn(note)
    total = evaluation.total_seconds(found, excerpt) * len(coders)
    with progress_bar("evaluate", total, quiet=quiet) as advance:
        done = evaluation.evaluate(
            found, coders, chosen, excerpt, on_progress=advance,
            on_problem=lambda error: failed.append(report(error)),
        )  # fmt: skip
    if done.interrupted:
        notes.append("interrupted: not all codecs were measured, or not on the same clips")
    if done.rows:
        made = evaluation.Report(done, loaded, excerpt, notes)
        evaluation.write_report(made, folder, overwrite=force)
        _show(made, folder, as_json=as_json, quiet=quiet)
    code = EXIT_FAILED if failed else EXIT_OK
    click.get_current_context().exit(report(KeyboardInterrupt()) if done.interrupted else code)


def _show(made: "Report", folder: Path, *, as_json: bool, quiet: bool) -> None:
    from ncodec import evaluation

    if as_json:
        click.echo(json.dumps(evaluation.as_json(made), indent=2))
    else:
        click.echo("\n".join(evaluation.markdown_table(made)))
    rows = made.evaluation.rows
    n_clips = len({row.clip for row in rows})
    said = f"{plural(n_clips, 'clip')}, {plural(len(rows), 'measurement')}"
    say(f"{folder / PAGE}: {said}", quiet=quiet)


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",")]


def _numbers(option: str, text: str | None) -> list[float] | None:
    names = _names(text)
    try:
        numbers = None if names is None else [float(name) for name in names]
    except ValueError:
        numbers = [0.0]
    if numbers is not None and not all(0 < number < math.inf for number in numbers):
        raise UsageError(f"{option} {text}: expected numbers of kbit/s with commas between")
    return numbers


def _check_folder(folder: Path, *, overwrite: bool) -> None:
    """Raise UsageError or OutputExists where a report cannot go, before anything is measured."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is not a folder")
    if not overwrite and (folder / PAGE).exists():
        raise OutputExists(f"{folder}: holds a report already")


def _is_audio(path: Path, failed: list[int]) -> bool:
    """Tell whether a file can be tried; if not, say so."""
    try:
        if path.is_dir():
            raise AudioError(f"{path}: is a folder; --set takes one")
        refuse_ncx(str(path))
        with path.open("rb"):
            return True
    except (AudioError, OSError) as error:
        failed.append(report(error))
        return False


def _yardsticks(against: str | None, kbps: list[float] | None, *, stereo: bool) -> "list[Coder]":
    if against is None:
        return []
    from ncodec.evaluation import opus

    opus.check_installed()
    usual = opus.STEREO_KBPS if stereo else opus.BANDWIDTHS_KBPS
    return [opus.OpusCoder(number) for number in kbps or usual]
