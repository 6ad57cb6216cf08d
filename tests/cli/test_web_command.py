"""`ncodec web`: sites, single pages, and the server."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from ran import Run
from tones import make_audio

from ncodec.hub.codecs import CODECS
from ncodec.web.modules import entries, load_modules

MakeNcx = Callable[..., Path]
MODULES = {module.name for module in load_modules(entries())}


def files_of(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def description(folder: Path) -> dict[str, list]:
    return json.loads((folder / "site.json").read_text())


@pytest.mark.quick
def test_a_site_has_the_page_the_models_and_the_files(
    run: Run, make_ncx: MakeNcx, cache: Path
) -> None:
    first, second = make_ncx("a b.ncx"), make_ncx("second.ncx")
    ran = run("web", "export", first, second, "-o", "site")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err.startswith("site: 2 files, 1 model, ")
    site = Path("site")
    tiny = CODECS.describe(cache / "models" / "tiny.safetensors")
    model = f"models/{tiny.sha256[:12]}-tiny.safetensors"
    assert files_of(site) >= {"index.html", "ncodec.wasm", "site.json", model, *MODULES}
    assert not list(site.rglob("*.py"))
    assert (site / "a b.ncx").read_bytes() == first.read_bytes()
    assert description(site) == {
        "files": ["a%20b.ncx", "second.ncx"],
        "models": [
            {
                "file": model,
                "model_id": "tiny",
                "sha256": tiny.sha256,
                "kind": "codec",
                "bytes": (site / model).stat().st_size,
            }
        ],
    }
    assert (site / model).stat().st_size < tiny.path.stat().st_size


def test_an_entropy_model_is_copied_as_it_is(run: Run, cache: Path) -> None:
    assert run("encode", "-m", "modelled", make_audio("song.flac")).code == 0
    for arguments in (["song.ncx"], ["-m", "modelled"]):
        assert run("web", "export", *arguments, "-o", "site", "-f").code == 0
        codec, entropy = description(Path("site"))["models"]
        assert (codec["kind"], entropy["kind"]) == ("codec", "entropy")
        original = cache / "models" / "entropy" / "modelled.safetensors"
        assert Path("site", entropy["file"]).read_bytes() == original.read_bytes()


def test_models_that_are_named_come_with_those_that_files_need(run: Run, make_ncx: MakeNcx) -> None:
    make_ncx("song.ncx")
    assert run("web", "export", "song.ncx", "-m", "modelled", "-m", "tiny", "-o", "site").code == 0
    models = description(Path("site"))["models"]
    assert [model["model_id"] for model in models] == ["tiny", "modelled", "modelled"]


def test_what_exists_is_replaced_with_force_only(run: Run, make_ncx: MakeNcx) -> None:
    make_ncx("song.ncx")
    Path("site").mkdir()
    Path("site/index.html").write_text("mine")
    ran = run("web", "export", "song.ncx", "-o", "site")
    said = f"{Path('site/index.html')}: exists already; -f replaces it"
    assert (ran.code, ran.err) == (1, f"ncodec: error: {said}\n")
    assert files_of(Path("site")) == {"index.html"}
    assert run("web", "export", "-f", "song.ncx", "-o", "site").code == 0
    assert Path("site/index.html").read_text().startswith("<!doctype html>")


def test_a_site_in_the_folder_of_its_file(run: Run, make_ncx: MakeNcx) -> None:
    content = make_ncx("song.ncx").read_bytes()
    assert run("web", "export", "song.ncx", "-o", ".").code == 0
    assert Path("song.ncx").read_bytes() == content
    assert description(Path())["files"] == ["song.ncx"]


@pytest.mark.parametrize("output", ["page.html", "pages/", "site"])
def test_a_single_page(run: Run, make_ncx: MakeNcx, output: str) -> None:
    make_ncx("song.ncx", title="Hum")
    Path("site").mkdir()
    arguments = ("web", "export", "song.ncx", "--single-file", "-o", output)
    assert run(*arguments).code == 0
    page = Path(output) if output == "page.html" else Path(output, "song.html")
    text = page.read_text()
    assert text.startswith("<!doctype html>")
    assert " src=" not in text.split('id="bundle"')[0]
    ran = run(*arguments)
    assert (ran.code, ran.err) == (1, f"ncodec: error: {page}: exists already; -f replaces it\n")


def test_a_model_that_the_player_cannot_decode_is_refused(
    run: Run, architectures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NCODEC_CACHE", str(architectures))
    source = make_audio("song.wav", n_samples=8000)
    assert run("encode", "-m", "soundstream-tiny", source, "-o", "song.ncx").code == 0
    ran = run("web", "export", "song.ncx", "-o", "site")
    fault = "model 'soundstream-tiny' of architecture soundstream: the player decodes spectral only"
    assert (ran.code, ran.err) == (1, f"ncodec: error: song.ncx: made with {fault}\n")
    ran = run("web", "export", "-m", "soundstream-tiny", "-o", "site")
    assert (ran.code, ran.err) == (1, f"ncodec: error: {fault}\n")
    assert not Path("site").exists()


def test_what_is_no_ncx_file_is_refused(run: Run, make_ncx: MakeNcx) -> None:
    audio = make_audio("song.wav")
    make_ncx("song.ncx")
    make_ncx("index.html", "--to", "ncx")
    Path("other").mkdir()
    Path("other/song.ncx").write_bytes(Path("song.ncx").read_bytes())
    for files, code, said in (
        ([audio], 1, "song.wav: is audio, not an .ncx file; ncodec encode makes one of it"),
        (["missing.ncx"], 1, "missing.ncx: no such file"),
        (["other"], 1, "other: no such file"),
        (["index.html"], 2, "index.html: the site has another file named index.html"),
        (["song.ncx", "other/song.ncx"], 2, "the site has another file named song.ncx"),
    ):
        ran = run("web", "export", *files, "-o", "site")
        assert ran.code == code
        assert ran.err.startswith("ncodec: error: ")
        assert ran.err.endswith(f"{said}\n")
    Path("file").write_text("")
    ran = run("web", "export", "song.ncx", "-o", "file")
    assert (ran.code, ran.err) == (2, "ncodec: error: file: is not a folder\n")


@pytest.mark.skipif(os.name == "nt", reason="no SIGINT")
def test_serve_until_it_is_interrupted(make_ncx: MakeNcx) -> None:
    content = make_ncx("song.ncx").read_bytes()
    command = [sys.executable, "-m", "ncodec", "web", "serve", "song.ncx"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as server:
        assert server.stdout
        assert server.stderr
        url = server.stdout.readline().decode().strip()
        assert url.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(url) as answer:
            assert b"<!doctype html>" in answer.read()
        asked = urllib.request.Request(f"{url}song.ncx", headers={"Range": "bytes=10-19"})
        with urllib.request.urlopen(asked) as answer:
            assert (answer.status, answer.read()) == (206, content[10:20])
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{url}../song.wav")
        server.send_signal(signal.SIGINT)
        _, err = server.communicate(timeout=10)
        assert (server.returncode, err) == (0, b"")
