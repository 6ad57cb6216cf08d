"""A page that holds all of a site starts, and its parts are what was put in."""

import base64
import json
import random
import re
import shutil
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
from node_runs import run_node

import ncodec
from ncodec.web import ROOM
from ncodec.web.modules import MAIN, PAGE, bundled, entries, load_modules
from ncodec.web.single_page import single_page
from ncodec.web.site import Site, make_site

PLAYER = """
import { decode, Kernel } from "./ncodec.js";
import * as codec from "./codec/models.js";
import "./aside.js";

const { ncodecResources: resources } = globalThis;
const bytes = async (name) => new Uint8Array(await (await fetch(resources[name])).arrayBuffer());
const site = JSON.parse(new TextDecoder().decode(await bytes("site.json")));
const models = new codec.Models(await Kernel.load(await bytes("ncodec.wasm")));
for (const { file } of site.models) await models.add(await bytes(file), file);
const [file] = site.files;
const { header, channels } = await decode(await bytes(file), models, file);
const worker = await (await fetch(resources["worker.js"])).text();
console.log(JSON.stringify([file, header.tag("TITLE"), channels[0].length, aside, worker]));
"""


@pytest.fixture
def player(tmp_path: Path) -> Path:
    """The player's folder with another main module, which needs no browser."""
    folder = tmp_path / "web"
    shutil.copytree(ROOM, folder, ignore=shutil.ignore_patterns("__pycache__", "*.py"))
    (folder / "player.js").write_text(PLAYER)
    (folder / "aside.js").write_text("globalThis.aside = '</script><!--<script>';\n")
    return folder


@pytest.mark.quick
def test_a_page_decodes_the_file_in_it(
    player: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NCODEC_CACHE", str(cache))
    song = tmp_path / "<script>&\"'#%é.ncx"
    wav = np.zeros((2, 5000), np.float32)
    song.write_bytes(ncodec.encode(wav, 8000, model="modelled", tags=[("TITLE", "</script>")]))
    page = tmp_path / "page.html"
    page.write_bytes(b"".join(single_page(make_site([song]), player)))
    ((file, title, n_samples, aside, worker),) = run_node("single_page.mjs", page)
    assert file == "%3Cscript%3E%26%22%27%23%25%C3%A9.ncx"
    assert title == ["</script>"]
    assert n_samples == 5000
    assert aside == "</script><!--<script>"
    assert worker == bundled("worker.js")


def test_nothing_of_a_file_ends_its_element(player: Path) -> None:
    contents = {"</script>.ncx": b"</script><!--", "site.json": b"<script>"}
    page = b"".join(single_page(Site(contents, 1, 0), player)).decode()
    source = (player / "index.html").read_text()
    n_added = 1 + len(contents)  # elements, besides that of the script
    for tag in ("<script", "</script>"):
        assert page.count(tag) == source.count(tag) + n_added
    assert page.count("<!--") == source.count("<!--")
    bundle = re.search(r'id="bundle">(.*?)</script>', page, re.S)
    assert bundle
    names = [file["name"] for file in json.loads(bundle[1])["files"]]
    assert names == ["%3C/script%3E.ncx", "site.json"]


def test_files_are_what_was_put_in(player: Path, tmp_path: Path) -> None:
    content = random.Random(1).randbytes((2 << 20) + 12345) + bytes(1 << 20)
    (tmp_path / "a.ncx").write_bytes(content)
    contents = {"a.ncx": tmp_path / "a.ncx", "b.ncx": b"", "c.ncx": content[:7]}
    page = b"".join(single_page(Site(contents, 3, 0), player)).decode()
    found = re.findall(r'<script type="text/plain" id="file-(\d)">(.*?)</script>', page)
    assert [number for number, _ in found] == ["0", "1", "2"]
    unpacked = [zlib.decompress(base64.b64decode(text, validate=True)) for _, text in found]
    assert unpacked == [content, b"", content[:7]]


def test_the_page_refers_to_its_main_module_only() -> None:
    page = (ROOM / PAGE).read_text()
    found = re.findall(r'\b(?:src|href)="(?!data:)([^"]*)"', page)
    assert found == [MAIN]
    assert "url(" not in page


def test_every_script_of_the_player_can_be_bundled(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node")
    for name in entries():
        text = bundled(name)
        assert not re.search(r"^(import|export)\b", text, re.M)
        script = tmp_path / f"{Path(name).stem}.mjs"
        script.write_text(text)
        subprocess.run([node, "--check", script], check=True)


def test_modules_come_after_those_that_they_need() -> None:
    seen = set[str]()
    for module in load_modules(entries()):
        assert set(module.imports) <= seen
        seen.add(module.name)
    assert {"player.js", "worker.js", "ncx/reader.js", "codec/decoder.js"} <= seen


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('import { x } from "three";', "imports 'three'"),
        ('import { x } from "../x.js";', "imports '../x.js'"),
        ("export default 1;", "'export default 1;' cannot be bundled"),
        ("export let x = 1;", "'export let x = 1;' cannot be bundled"),
        ('import x from "./b.js";', "cannot be bundled"),
    ],
)
def test_what_cannot_be_bundled_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a.js").write_text(text)
    (tmp_path / "b.js").write_text("export const x = 1;\n")
    with pytest.raises(ValueError, match=re.escape(said)):
        bundled("a.js", tmp_path)


def test_a_circle_of_imports_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text('export * from "./b.js";')
    (tmp_path / "b.js").write_text('import "./a.js";')
    with pytest.raises(ValueError, match="cycle"):
        load_modules(["a.js"], tmp_path)


def test_all_kinds_of_imports_and_exports(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text(
        "export const one = 1;\nexport function two() {\n  return 2;\n}\n"
        "export class Three {}\nexport async function four() {}\nexport function* five() {}\n"
    )
    (tmp_path / "b.js").write_text(
        'export * from "./a.js";\nexport {\n  one as uno,\n  two,\n} from "./a.js";\n'
    )
    (tmp_path / "c.js").write_text(
        'import {\n  one,\n  two as zwei,\n  uno,\n} from "./b.js";\n'
        'import * as all from "./b.js";\n'
        "export const out = 1;\n"
        "console.log(JSON.stringify([one, zwei(), uno, Object.keys(all).sort()]));\n"
    )
    script = tmp_path / "bundle.mjs"
    script.write_text(bundled("c.js", tmp_path))
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node")
    ran = subprocess.run([node, script], capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout) == [1, 2, 1, ["Three", "five", "four", "one", "two", "uno"]]
