"""`ncodec web`: .ncx files in a browser."""

import contextlib
import webbrowser
from pathlib import Path
from typing import Any

import click

from ncodec.cli.inputs import open_ncx
from ncodec.cli.options import Decorator, force_option, quiet_option
from ncodec.cli.progress import say
from ncodec.errors import plural
from ncodec.formats.atomic_files import atomic_output

SINGLE_SUFFIX = ".html"


@click.group()
def web() -> None:
    """Make web pages that play .ncx files, and look at them on this machine.

    The page decodes in the browser, and asks no other host for anything.

    \b
    Examples:
      ncodec web export song.ncx -o site/
      ncodec web serve song.ncx
    """  # noqa: D301


def _files_argument() -> Decorator[Any]:
    return click.argument(
        "files", nargs=-1, metavar="[FILE]...", type=click.Path(readable=False, path_type=Path)
    )


def _models_option() -> Decorator[Any]:
    return click.option(
        "-m", "--model", "models", multiple=True, metavar="MODEL",
        help="Another model that the page is to have, with its entropy model, for files that come "
        "later; may be repeated. Without FILE, by default spectral.",
    )  # fmt: skip


@web.command("export")
@_files_argument()
@click.option(
    "-o", "--output", required=True, metavar="SITE", type=click.Path(),
    help="Folder for the site; with --single-file, name of the page, or a folder for it.",
)  # fmt: skip
@_models_option()
@click.option(
    "--single-file", is_flag=True,
    help="Make one page that holds all: it plays where it lies, without a server.",
)  # fmt: skip
@force_option()
@quiet_option()
def export_site(
    files: tuple[Path, ...], output: str, models: tuple[str, ...], single_file: bool, force: bool,
    quiet: bool,
) -> None:  # fmt: skip
    """Write a static site that plays .ncx files: any web server can serve it.

    SITE then has the page index.html, its modules, the models that the files were made with as
    compact files, the files themselves, and site.json, which lists them. The page plays the first
    file, or the one that ?file=NAME names, or one that is dropped on it.

    The player decodes the audio of spectral models only.

    \b
    Examples:
      ncodec web export song.ncx -o site/
      ncodec web export *.ncx -o site/
      ncodec web export song.ncx --single-file -o song.html
    """  # noqa: D301
    from ncodec.web.single_page import single_page
    from ncodec.web.site import write_site

    site, target = _site(files, models), Path(output)
    if not single_file:
        write_site(site, target, overwrite=force)
        size = site.n_bytes
    else:
        if target.is_dir() or output.endswith("/"):
            target.mkdir(parents=True, exist_ok=True)
            target /= (files[0].stem if files else "player") + SINGLE_SUFFIX
        with atomic_output(target, force) as partial, partial.open("wb") as stream:
            for piece in single_page(site):
                stream.write(piece)
            size = stream.tell()
    made = f"{plural(site.n_files, 'file')}, {plural(site.n_models, 'model')}"
    say(f"{target}: {made}, {size / 1e6:.1f} MB", quiet=quiet)


@web.command()
@_files_argument()
@_models_option()
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, metavar="N",
    help="Port of the server; by default one that is free.",
)  # fmt: skip
@click.option("--open", "is_to_open", is_flag=True, help="Open the page in the browser.")
def serve(files: tuple[Path, ...], models: tuple[str, ...], port: int, is_to_open: bool) -> None:
    """Serve the site that `ncodec web export` would write, to browsers on this machine only.

    Prints the address, and serves until it is interrupted (Ctrl-C). The files are not copied.

    \b
    Examples:
      ncodec web serve song.ncx --open
      ncodec web serve --port 8000
    """  # noqa: D301
    from ncodec.web.server import SiteServer

    site = _site(files, models)
    with SiteServer(site, port) as server, contextlib.suppress(KeyboardInterrupt):
        click.echo(server.url)
        if is_to_open:
            webbrowser.open(server.url)
        server.serve_forever()


def _site(files: tuple[Path, ...], models: tuple[str, ...]) -> Any:
    from ncodec.web.site import make_site

    for path in files:
        if path.is_file():
            with open_ncx(str(path)):
                pass  # says of audio and .ecdc files what makes .ncx files of them
    return make_site(files, models)
