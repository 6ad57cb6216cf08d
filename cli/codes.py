"""`ncodec codes`: the codes of .ncx files as data for language models, and back."""

import contextlib
import sys
from collections.abc import Callable, Generator
from typing import Any

import click

from ncodec.batch.conversion import ENGINES
from ncodec.cli.errors import EXIT_FAILED, EXIT_OK, complain
from ncodec.cli.options import Decorator, entropy_option, force_option, quiet_option
from ncodec.cli.progress import say
from ncodec.errors import UsageError, plural

FORMATS = ("npy", "npz", "safetensors", "parquet", "webdataset")
LAYOUTS = ("frames", "flat", "delay")
MANIFESTS = ("jsonl", "parquet")


@click.group()
def codes() -> None:
    """Write codes as shards of tokens, to train language models, and make .ncx files of them again.

    \b
    Examples:
      ncodec codes export coded/ -o tokens/ --to webdataset
      ncodec codes import tokens/ -o back/
    """  # noqa: D301


def _jobs_option() -> Decorator[Any]:
    return click.option(
        "-j", "--jobs", "n_workers", type=click.IntRange(min=0), metavar="N",
        help="Worker processes; by default one per core. 0: this process only.",
    )  # fmt: skip


@codes.command("export")
@click.argument(
    "inputs", nargs=-1, required=True, metavar="INPUT...", type=click.Path(readable=False)
)
@click.option(
    "-o", "--output", "out", required=True, metavar="FOLDER", type=click.Path(file_okay=False),
    help="Folder for the shards and the manifest, or its URL.",
)  # fmt: skip
@click.option("--to", type=click.Choice(FORMATS), required=True, help="Format of the shards.")
@click.option(
    "--layout", type=click.Choice(LAYOUTS), default="frames", show_default=True,
    help="How codes are laid out: [K, T], one list of tokens, or each codebook a step later than "
    "the one before.",
)  # fmt: skip
@click.option(
    "--offset", is_flag=True,
    help="With --layout flat, codebook k counts from k times the size of a codebook.",
)  # fmt: skip
@click.option("--n-q", type=click.IntRange(min=1), metavar="N", help="Only the first N codebooks.")
@click.option(
    "--shard-size", type=click.IntRange(min=1), default=1000, show_default=True, metavar="N",
    help="Clips of a shard.",
)  # fmt: skip
@click.option(
    "--manifest", type=click.Choice(MANIFESTS), default="jsonl", show_default=True,
    help="Format of the list of all clips.",
)  # fmt: skip
@_jobs_option()
@click.option(
    "--engine", type=click.Choice(ENGINES), default="local", show_default=True,
    help="Where the workers are: on this machine, or in a Ray cluster.",
)  # fmt: skip
@click.option(
    "--address", metavar="ADDR",
    help="With --engine ray, HOST:PORT of a cluster; by default $RAY_ADDRESS, or one that is "
    "started here.",
)  # fmt: skip
@force_option()
@quiet_option()
def export_codes(
    inputs: tuple[str, ...], out: str, to: str, layout: str, offset: bool, n_q: int | None,
    shard_size: int, manifest: str, n_workers: int | None, engine: str, address: str | None,
    force: bool, quiet: bool,
) -> None:  # fmt: skip
    """Write the codes of .ncx files, and of those in folders, as shards of tokens.

    All files must be of one model and one number of codebooks. FOLDER then holds the shards, a
    manifest with a row for each clip, and export.json, which says how they were made. The same
    command goes on with an export that was interrupted or killed, to the same bytes. Files that
    cannot be read are left out and listed at the end, and do not stop the others.

    INPUT and FOLDER may be URLs of folders: s3://, gs://, memory:// and others that fsspec knows.

    \b
    Examples:
      ncodec codes export coded/ -o tokens/ --to npy --layout delay
      ncodec codes export coded/ -o tokens/ --to parquet --layout flat --offset --n-q 4
      ncodec codes export s3://music/ncx -o s3://music/tokens --to webdataset --engine ray
    """  # noqa: D301
    from ncodec.batch.data import ExportOptions, export

    if address is not None and engine != "ray":
        raise UsageError("--address is for --engine ray")
    options = ExportOptions(to, layout, offset, n_q, shard_size, manifest)
    with _bar("export", quiet=quiet) as advance:
        done = export(
            inputs, out, options, n_workers=n_workers, engine=engine, address=address,
            overwrite=force, on_progress=advance,
        )  # fmt: skip
    for failure in done.failures:
        complain(failure)
    before = f", {done.n_shards_before} of them done before" if done.n_shards_before else ""
    said = f"{plural(done.n_clips, 'clip')} in {plural(done.n_shards, 'shard')}{before}"
    failed = f", {len(done.failures)} failed" if done.failures else ""
    say(f"{out}: {said}{failed}", quiet=quiet)
    click.get_current_context().exit(EXIT_FAILED if done.failures else EXIT_OK)


@codes.command("import")
@click.argument("folder", metavar="FOLDER", type=click.Path(readable=False))
@click.option(
    "-o", "--output", "out", required=True, metavar="FOLDER", type=click.Path(file_okay=False),
    help="Folder for the .ncx files.",
)  # fmt: skip
@entropy_option("ncx")
@_jobs_option()
@force_option()
@quiet_option()
def import_codes(
    folder: str, out: str, entropy: str | None, n_workers: int | None, force: bool, quiet: bool
) -> None:
    """Make the .ncx files again of which FOLDER is an export; their pictures are gone.

    Codes, levels, tags and lengths are the same, so they decode to the same audio.

    \b
    Example:
      ncodec codes import tokens/ -o back/
    """  # noqa: D301
    from ncodec.batch.data import restore

    with _bar("import", quiet=quiet) as advance:
        n_clips = restore(
            folder, out, entropy=entropy, n_workers=n_workers, overwrite=force, on_progress=advance
        )
    say(f"{out}: {plural(n_clips, 'clip')}", quiet=quiet)


@contextlib.contextmanager
def _bar(title: str, *, quiet: bool) -> Generator[Callable[[int], None], None, None]:
    """Show progress on a terminal; gives what to call with clips that were done."""
    if quiet or not sys.stderr or not sys.stderr.isatty():
        yield lambda n_clips: None
        return
    from tqdm import tqdm

    with tqdm(desc=title, unit=" clips", leave=False) as bar:

        def advance(n_clips: int) -> None:
            bar.update(n_clips)

        yield advance
