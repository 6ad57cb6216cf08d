"""`ncodec tags`: the tags of files, shown or changed."""

import json
import re
import stat
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click

from ncodec.cli.errors import overall_exit_code, report
from ncodec.cli.inputs import (
    STDIO,
    Job,
    open_input,
    open_ncx,
    open_output,
    plan_jobs,
    run_jobs,
    source_name,
)
from ncodec.cli.options import force_option, json_option, output_option
from ncodec.errors import FormatError, NcodecError, UsageError
from ncodec.formats.ncx import (
    MAX_ATTACHMENT_BYTES,
    Header,
    Picture,
    Reader,
    Tags,
    check_tag,
    retag,
)

TAGS_SCHEMA = "ncodec.tags/1"

_MOST_LIST_BYTES = 1 << 26  # of --from; more than a file's tags, unless most is escaped
_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.?)")
_ESCAPED = {"\\": "\\", "n": "\n", "r": "\r", "t": "\t"}


@dataclass(frozen=True, slots=True)
class Change:
    """What is done to the tags and pictures of every file. Keys are the same in either case."""

    clear: bool
    removed: tuple[str, ...]
    replaced: Tags
    added: Tags
    without_pictures: bool = False
    pictures: tuple[Picture, ...] = ()  # added

    def of_pictures(self, pictures: tuple[Picture, ...]) -> tuple[Picture, ...]:
        """Return the pictures that a file with `pictures` gets."""
        return (*(() if self.without_pictures else pictures), *self.pictures)

    def changes(self, header: Header) -> bool:
        """Whether a file with this header gets another one."""
        pictures = header.pictures
        return self(header.tags) != header.tags or self.of_pictures(pictures) != pictures

    def __call__(self, tags: Tags) -> Tags:
        """Return the tags that a file with `tags` gets."""
        removed = {key.upper() for key in self.removed}
        kept = [tag for tag in tags if not self.clear and tag[0].upper() not in removed]
        for wanted in dict.fromkeys(key.upper() for key, _ in self.replaced):
            places = [at for at, (key, _) in enumerate(kept) if key.upper() == wanted]
            place = places[0] if places else len(kept)
            rest = [tag for tag in kept[place:] if tag[0].upper() != wanted]
            kept[place:] = [tag for tag in self.replaced if tag[0].upper() == wanted] + rest
        return (*kept, *self.added)


@click.command()
@click.argument(
    "files", nargs=-1, required=True, metavar="FILE...",
    type=click.Path(allow_dash=True, readable=False),
)  # fmt: skip
@json_option(TAGS_SCHEMA)
@click.option("--clear", is_flag=True, help="Remove all tags.")
@click.option("--remove", multiple=True, metavar="KEY", help="Remove all tags of this key.")
@click.option(
    "--set", "replaced", multiple=True, metavar="KEY=VALUE",
    help="Replace all tags of this key.",
)  # fmt: skip
@click.option(
    "--from", "listing", metavar="LIST", type=click.Path(allow_dash=True, readable=False),
    help="Add the tags that this file lists, as they are printed; - for standard input.",
)  # fmt: skip
@click.option("--add", "added", multiple=True, metavar="KEY=VALUE", help="Add this tag.")
@click.option("--remove-pictures", is_flag=True, help="Remove all pictures.")
@click.option(
    "--picture", "picture_paths", multiple=True, metavar="IMAGE",
    type=click.Path(readable=False), help="Add this file as the front cover.",
)  # fmt: skip
@output_option(".ncx file")
@force_option()
def tags(
    files: tuple[str, ...], as_json: bool, clear: bool, remove: tuple[str, ...],
    replaced: tuple[str, ...], listing: str | None, added: tuple[str, ...], remove_pictures: bool,
    picture_paths: tuple[str, ...], output: str | None, force: bool,
) -> None:  # fmt: skip
    """Show the tags of .ncx files, or change tags and pictures.

    Prints a line KEY=value for every tag. With several files, a line "==> FILE <==" comes before
    the tags of each: no tag starts with "=". A backslash is printed as \\\\, unprintable characters
    as \\n, \\r, \\t, \\x1b, \\u2028 and so on, and --from undoes this. In KEY=VALUE on the command
    line nothing is escaped.

    With an option that changes something, the file is replaced by one that differs in nothing else,
    or with -o that one is written elsewhere. The codes stay as they are, and so does any damage of
    packets. The options work in this order: --clear, --remove, --set, --from, --add, and
    --remove-pictures, --picture. Those with a value can be repeated, but for --from; all values
    that are --set for one key are kept. Keys are case-insensitive. A file that does not change is
    not touched. Pictures are shown by ncodec inspect.

    \b
    Examples:
      ncodec tags song.ncx
      ncodec tags --set TITLE=Hum --add ARTIST=Anon --remove COMMENT song.ncx
      ncodec tags song.ncx | ncodec tags --clear --from - other.ncx
      ncodec tags --remove-pictures --picture cover.jpg song.ncx
    """  # noqa: D301
    of_tags = clear or remove or replaced or listing is not None or added
    if not (of_tags or remove_pictures or picture_paths):
        if output is not None:
            raise UsageError("-o: nothing is written without an option that changes something")
        _show(files, as_json=as_json)
        return
    if as_json:
        raise UsageError("--json: only without the options that change something")
    if STDIO in files:
        raise UsageError("standard input: its tags can be shown, but not changed")
    change = Change(
        clear,
        tuple(_checked(key, "", "--remove", UsageError)[0] for key in remove),
        tuple(_given(text, "--set") for text in replaced),
        (*(() if listing is None else _read(listing)), *(_given(text, "--add") for text in added)),
        remove_pictures,
        tuple(map(_picture, picture_paths)),
    )
    if output is None:
        run_jobs([Job(file, file) for file in files], lambda: partial(_replace, change))
    else:
        jobs = plan_jobs(files, output, ".ncx", overwrite=force)
        run_jobs(jobs, lambda: partial(_write, change, force))


def _show(files: tuple[str, ...], *, as_json: bool) -> None:
    """Print the tags of all files, or the error of those that cannot be read."""
    shown: list[dict[str, object]] = []
    codes: list[int] = []
    for file in files:
        name = source_name(file)
        try:
            found = _tags_of(file)
        except (NcodecError, OSError) as error:
            codes.append(report(error))
            continue
        if not as_json and len(files) > 1:
            blank = "\n" if shown else ""
            click.echo(f"{blank}==> {_escape(name)} <==")
        if not as_json:
            for key, value in found:
                click.echo(_escape(f"{key}={value}"))
        listed = [{"key": key, "value": value} for key, value in found]
        shown.append({"file": name, "tags": listed})
    if as_json:
        click.echo(json.dumps({"schema": TAGS_SCHEMA, "files": shown}, indent=2))
    click.get_current_context().exit(overall_exit_code(codes, len(files)))


def _tags_of(file: str) -> Tags:
    return _header_of(file).tags


def _header_of(file: str) -> Header:
    with open_ncx(file) as stream:
        return Reader(stream, source_name(file)).header


def _replace(change: Change, job: Job) -> None:
    """Put the file with other tags in the place of the file."""
    if not stat.S_ISREG(Path(job.source).stat().st_mode):
        raise NcodecError(f"{job.source}: is not a file that can be replaced")
    if change.changes(_header_of(job.source)):
        _write(change, True, job)


def _write(change: Change, overwrite: bool, job: Job) -> None:
    with (
        open_output(job.target, overwrite=overwrite) as sink,
        open_ncx(job.source) as stream,  # closed before it is replaced
    ):
        name = source_name(job.source)
        sink.writelines(retag(stream, change, name, change.of_pictures))


def _picture(path: str) -> Picture:
    """Return a picture of a file. Raises NcodecError for what is none."""
    from ncodec.audio.pictures import media_type_of

    with open_input(path) as stream:
        data = stream.read(MAX_ATTACHMENT_BYTES + 1)
    if len(data) > MAX_ATTACHMENT_BYTES - 100:
        raise NcodecError(f"{path}: a picture of more than {MAX_ATTACHMENT_BYTES - 100} bytes")
    media_type = media_type_of(data)
    if not media_type:
        raise NcodecError(f"{path}: is no picture that is known: JPEG, PNG, GIF, WebP or BMP")
    return Picture(data, media_type)


def _given(text: str, option: str) -> tuple[str, str]:
    """Return the tag of an argument. Raises UsageError."""
    key, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"{option}: {text!r} is not KEY=VALUE")
    return _checked(key, value, option, UsageError)


def _checked(key: str, value: str, place: str, refusal: type[NcodecError]) -> tuple[str, str]:
    try:
        check_tag(key, value)
    except FormatError as error:
        raise refusal(f"{place}: {error}") from None
    return key, value


def _read(listing: str) -> Tags:
    """Return the tags that a file lists. Raises NcodecError, with the line."""
    name = source_name(listing)
    with open_input(listing) as stream:
        content = stream.read(_MOST_LIST_BYTES + 1)
    if len(content) > _MOST_LIST_BYTES:
        raise NcodecError(f"{name}: has more than {_MOST_LIST_BYTES} bytes: too many for tags")
    try:
        lines = content.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise NcodecError(f"{name}: is not UTF-8 at byte {error.start}") from None
    found: list[tuple[str, str]] = []
    for number, line in enumerate(lines, 1):
        place = f"{name}, line {number}"
        key, equals, value = line.removesuffix("\r").partition("=")
        if equals:
            key, value = _unescape(key, place), _unescape(value, place)
            found.append(_checked(key, value, place, NcodecError))
        elif key:
            raise NcodecError(f"{place}: {key!r} is not KEY=value")
    return tuple(found)


def _escape(text: str) -> str:
    """Return `text` on one line, with nothing in it that a terminal would obey."""
    doubled = text.replace("\\", r"\\")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in doubled)


def _unescape(text: str, place: str) -> str:
    """Undo `_escape`. Raises NcodecError for a backslash that it does not write."""

    def character(found: re.Match[str]) -> str:
        code = found[1]
        number = int(code[1:], 16) if len(code) > 1 else None
        if number is not None and number <= 0x10FFFF:
            return chr(number)
        if code not in _ESCAPED:
            raise NcodecError(f"{place}: {found[0]} means nothing; a backslash is \\\\")
        return _ESCAPED[code]

    return _ESCAPE.sub(character, text)
