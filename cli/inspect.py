"""`ncodec inspect`: what is in a file."""

import contextlib
import io
import json

import click

from ncodec.cli.errors import EXIT_FAILED
from ncodec.cli.inputs import STDIO, open_ncx, source_name
from ncodec.cli.options import INSPECT_SCHEMA, json_option
from ncodec.errors import FormatError
from ncodec.formats.ncx import Reader
from ncodec.formats.streams import Replay, rewindable

MAX_HEADER_BYTES = 1 << 17  # more than it may have


@click.command()
@click.argument("file", type=click.Path(allow_dash=True))
@json_option(INSPECT_SCHEMA)
@click.option("--codes", is_flag=True, help="Decode the codes even if that takes a transformer.")
@click.option("--packets", is_flag=True, help="List the packets too.")
@click.option("--bytes", "show_bytes", is_flag=True, help="Name every byte of the file too.")
def inspect(file: str, as_json: bool, codes: bool, packets: bool, show_bytes: bool) -> None:
    """Show what is in an .ncx file, and whether it is intact.

    Bits per code: what plain packing takes, what was spent, and the order-0 entropy, which is what
    an ideal code that knows how often each code occurs in this file would need on average. The
    entropy and the digest require decoding the codes, which for the transformer coder is only done
    with --codes.

    Damage is skipped; then the exit code is 1.

    \b
    Examples:
      ncodec inspect song.ncx
      ncodec inspect --bytes song.ncx | less
      ncodec inspect --json song.ncx | jq .bitrate_bps.total
    """  # noqa: D301
    from ncodec.bitstream import inspect as inspection
    from ncodec.cli import report, report_json

    name = source_name(file)
    with contextlib.ExitStack() as stack:
        stream = stack.enter_context(open_ncx(file))
        if file == STDIO or not stream.seekable():
            again = Replay(stream)
            try:
                Reader(again, name)
            except FormatError:  # perhaps no .ncx file at all: the start of it tells what is wrong
                stream = io.BytesIO(again.head(MAX_HEADER_BYTES))
            else:
                again.rewind()
                stream = stack.enter_context(rewindable(again))
        facts = inspection.inspect(stream, name, decode=codes or None)
        if as_json:
            values = report_json.as_json(name, facts)
            if packets:
                values["packets"] = report_json.packet_list(facts)
            if show_bytes:
                values["fields"] = report_json.byte_list(stream, name)
            click.echo(json.dumps(values, indent=2))
        else:
            for line in report.as_text(name, facts):
                click.echo(line)
            if packets:
                for line in report.packet_table(facts):
                    click.echo(line)
            if show_bytes:
                click.echo()
                for line in report.byte_map(stream, name, facts.file_bytes):
                    click.echo(line)
    click.get_current_context().exit(0 if facts.is_whole else EXIT_FAILED)
