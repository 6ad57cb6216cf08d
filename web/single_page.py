"""A site as one document of HTML, which needs no server and no network: to be sent by mail."""

import base64
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ncodec.web import ROOM, modules
from ncodec.web.site import Content, Site, address, open_content, type_of

BOOT = "boot.js"
_SCRIPT = re.compile(r'[ \t]*<script type="module" src="([^"]+)"></script>\n?')
_END = "</body>"
_CHUNK_BYTES = 1 << 20


def single_page(site: Site, folder: Path = ROOM) -> Iterator[bytes]:
    """Yield the document, piece by piece.

    folder  of the page and its modules

    No text of a file or of its name can end the element that it is in: files are base64
    of their zlib streams, and all else is JSON without a "<".
    """
    page = (folder / modules.PAGE).read_text("utf-8")
    (script,) = _SCRIPT.findall(page)
    start, end = _SCRIPT.sub("", page).rsplit(_END, 1)
    scripts = modules.entries(folder)
    own = {module.name for module in modules.load_modules(scripts, folder)} | {modules.PAGE}
    files = {name: content for name, content in site.contents.items() if name not in own}
    bundle = {
        "main": script,
        "scripts": [{"name": name, "text": modules.bundled(name, folder)} for name in scripts],
        "files": [{"name": address(name), "type": type_of(name)} for name in files],
    }
    yield f'{start}<script type="application/json" id="bundle">{_json(bundle)}</script>\n'.encode()
    for number, content in enumerate(files.values()):
        yield f'<script type="text/plain" id="file-{number}">'.encode()
        yield from _packed(content)
        yield b"</script>\n"
    boot = (folder / BOOT).read_text("utf-8")
    yield f'<script type="module">\n{boot}</script>\n{_END}{end}'.encode()


def _json(value: Any) -> str:
    return json.dumps(value).replace("<", r"\u003c")


def _packed(content: Content) -> Iterator[bytes]:
    """Yield a file, compressed as zlib does (RFC 1950), in base64."""
    deflate, left = zlib.compressobj(9), b""
    with open_content(content) as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            left += deflate.compress(chunk)
            whole = len(left) // 3 * 3  # base64 of such pieces is base64 of all
            yield base64.b64encode(left[:whole])
            left = left[whole:]
    yield base64.b64encode(left + deflate.flush())
