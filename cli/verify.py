"""`ncodec verify`: whether files are whole."""

import click

from ncodec.cli.errors import EXIT_FAILED
from ncodec.cli.inputs import open_ncx, source_name
from ncodec.cli.options import inputs_argument
from ncodec.cli.progress import clock
from ncodec.errors import NcodecError, plural


@click.command()
@inputs_argument()
def verify(inputs: tuple[str, ...]) -> None:
    """Check that .ncx files are intact.

    Checks checksums, structure, and the digest of the decoded codes.

    Prints one line per file on standard output. Needs only the model of the entropy coder, if it
    has one: codes are not decoded to audio. Exits with 1 if a file failed.

    \b
    Examples:
      ncodec verify *.ncx
      ncodec encode song.wav -o - | ncodec verify -
    """  # noqa: D301
    failed = False
    for source in inputs:
        name = source_name(source)
        try:
            text = f"ok ({_check(source)})"
        except BrokenPipeError:
            raise
        except (NcodecError, OSError) as error:
            failed = True
            why = (error.strerror if isinstance(error, OSError) else None) or str(error)
            text = f"FAILED: {why.removeprefix(f'{name}: ')}"
        click.echo(f"{name}: {text}")
    click.get_current_context().exit(EXIT_FAILED if failed else 0)


def _check(source: str) -> str:
    """Return what a whole file holds; raise the error of one that is not."""
    from ncodec.bitstream.codes import iterate_codes
    from ncodec.formats.ncx import Reader

    with open_ncx(source) as stream:
        reader = Reader(stream, source_name(source))
        n_packets = sum(1 for _ in iterate_codes(reader))
    seconds = (reader.n_samples or 0) / reader.header.source_sample_rate_hz
    return f"{plural(n_packets, 'packet')}, {clock(seconds)}"
