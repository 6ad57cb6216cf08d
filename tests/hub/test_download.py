"""Fetching a file: whole, in parts, and what is refused. Nothing leaves this machine."""

import contextlib
import hashlib
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from loopback import Site, serving

from ncodec.errors import DownloadError, NcodecError, UsageError
from ncodec.hub import download
from ncodec.hub.download import discard, fetch
from ncodec.hub.public import public_model, public_models

CONTENT = bytes(range(256)) * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving(Site(CONTENT)) as served:
        yield served


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "downloads" / "model.part"


@pytest.fixture
def broken_off(site: Site, part: Path) -> Path:
    """A part of 100 000 bytes, from a connection that broke."""
    site.break_after = 100_000
    with pytest.raises(DownloadError, match="broke after 100000 of 256000 bytes; the same"):
        fetch(site.url, part)
    site.break_after = None
    site.asked.clear()
    return part


def test_whole(site: Site, part: Path) -> None:
    shown: list[tuple[int, int | None]] = []
    digest = fetch(
        site.url, part, n_bytes=len(CONTENT), sha256=DIGEST,
        progress=lambda done, total: shown.append((done, total)),
    )  # fmt: skip
    assert digest == DIGEST
    assert part.read_bytes() == CONTENT
    assert shown[0] == (0, len(CONTENT))
    assert shown[-1] == (len(CONTENT), len(CONTENT))
    assert fetch(site.url, part, n_bytes=len(CONTENT), sha256=DIGEST) == DIGEST
    assert len(site.asked) == 1  # what is there already is not asked for
    discard(part)
    assert not list(part.parent.iterdir())


def test_goes_on_where_it_broke_off(site: Site, broken_off: Path) -> None:
    assert broken_off.stat().st_size == 100_000
    assert fetch(site.url, broken_off, sha256=DIGEST[:8]) == DIGEST
    (asked,) = site.asked
    assert (asked["Range"], asked["If-Range"]) == ("bytes=100000-", '"one"')


def test_a_whole_file_of_unknown_size_is_not_fetched_again(site: Site, part: Path) -> None:
    fetch(site.url, part)
    shown: list[int] = []
    assert fetch(site.url, part, progress=lambda done, total: shown.append(done)) == DIGEST
    assert site.asked[1]["Range"] == "bytes=256000-"
    assert shown == []


@pytest.mark.parametrize("tag", ["", 'W/"weak"'])
def test_without_a_version_only_a_digest_lets_it_go_on(site: Site, part: Path, tag: str) -> None:
    site.tag, site.break_after = tag, 100_000
    for _ in range(2):
        with pytest.raises(DownloadError, match="broke after 100000"):
            fetch(site.url, part)
        assert "Range" not in site.asked[-1]
    site.break_after = None
    assert fetch(site.url, part, sha256=DIGEST) == DIGEST
    assert site.asked[-1]["Range"] == "bytes=100000-"
    assert "If-Range" not in site.asked[-1]


def test_starts_over_where_ranges_are_ignored(site: Site, broken_off: Path) -> None:
    site.ranges = False
    assert fetch(site.url, broken_off, n_bytes=len(CONTENT), sha256=DIGEST) == DIGEST


def test_starts_over_with_a_changed_file(site: Site, broken_off: Path) -> None:
    site.content, site.tag = CONTENT[::-1], '"two"'
    fetch(site.url, broken_off)
    assert broken_off.read_bytes() == site.content
    assert json.loads(broken_off.with_name("model.part.json").read_text())["version"] == '"two"'


def test_a_change_that_the_server_hides_is_found(site: Site, broken_off: Path) -> None:
    site.content = bytes(100_000) + CONTENT[100_000:-1] + b"?"
    with pytest.raises(DownloadError, match=f"expected {DIGEST}; the file was deleted"):
        fetch(site.url, broken_off, n_bytes=len(CONTENT), sha256=DIGEST)
    assert not list(broken_off.parent.iterdir())


def test_starts_over_with_another_address(site: Site, broken_off: Path) -> None:
    fetch(f"{site.url}?mirror", broken_off, sha256=DIGEST)
    assert "Range" not in site.asked[0]


def test_starts_over_where_the_note_is_lost(site: Site, broken_off: Path) -> None:
    broken_off.with_name("model.part.json").write_text("{")
    fetch(site.url, broken_off, sha256=DIGEST)
    assert "Range" not in site.asked[0]


def test_starts_over_where_the_file_has_shrunk(site: Site, broken_off: Path) -> None:
    site.content = CONTENT[:5000]
    fetch(site.url, broken_off)
    assert broken_off.read_bytes() == site.content


@pytest.mark.parametrize("known", [64, 8])
def test_a_wrong_digest(site: Site, part: Path, known: int) -> None:
    wrong = ("0" * 64)[:known]
    with pytest.raises(DownloadError, match=rf"SHA-256 is {DIGEST}, expected .*{wrong}; ") as info:
        fetch(site.url, part, sha256=wrong)
    assert ("starts with" in str(info.value)) == (known == 8)
    assert not part.exists()


@pytest.mark.parametrize("says_length", [True, False])
def test_a_wrong_size(site: Site, part: Path, says_length: bool) -> None:
    site.says_length = says_length
    with pytest.raises(DownloadError, match=r"(256000|more than 9000) bytes, expected 9000"):
        fetch(site.url, part, n_bytes=9000)
    assert not part.exists()


@pytest.mark.parametrize("says_length", [True, False])
def test_too_large(
    site: Site, part: Path, says_length: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "MAX_BYTES", 200_000)
    site.says_length = says_length
    with pytest.raises(DownloadError, match="the limit is 200000"):
        fetch(site.url, part)
    assert not part.exists()


def test_cut_short_without_a_length(site: Site, part: Path) -> None:
    site.says_length, site.break_after = False, 5000
    with pytest.raises(DownloadError, match="broke after 5000 of 256000 bytes"):
        fetch(site.url, part, n_bytes=len(CONTENT), sha256=DIGEST)


@pytest.mark.parametrize("status", [404, 403, 503, 416])
def test_what_the_server_answers_is_said(site: Site, part: Path, status: int) -> None:
    site.status = status
    with pytest.raises(DownloadError, match=f"file.th: the server answers {status} [A-Z]"):
        fetch(site.url, part)


def test_nobody_answers(site: Site, part: Path) -> None:
    with serving(Site(b"")) as other:
        gone = other.url
    with pytest.raises(DownloadError, match=f"{gone}: .*refused"):
        fetch(gone, part)


def test_a_slow_server(site: Site, part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download.urllib.request.OpenerDirector, "open", raise_timeout)
    with pytest.raises(DownloadError, match="timed out"):
        fetch(site.url, part)


def raise_timeout(*args: object, **kwargs: object) -> None:
    raise TimeoutError("timed out")


@pytest.mark.parametrize("location", ["ftp://127.0.0.1/file", "file:///etc/passwd"])
def test_redirections_stay_on_the_web(site: Site, part: Path, location: str) -> None:
    site.status, site.location = 302, location
    with pytest.raises(DownloadError, match="not https|not allowed"):
        fetch(site.url, part)


def test_no_redirection_leaves_https() -> None:
    handler, request = download._Redirects(), download.urllib.request.Request("https://host/a")
    for url, good in (("https://other/b", True), ("http://host/a", False)):
        with contextlib.nullcontext() if good else pytest.raises(DownloadError, match="not https"):
            assert handler.redirect_request(request, io.BytesIO(), 302, "Found", {}, url)


def test_follows_a_redirection(site: Site, part: Path) -> None:
    with serving(Site(b"", status=302, location=site.url)) as other:
        assert fetch(other.url, part) == DIGEST


@pytest.mark.parametrize(
    "url",
    ["", "file.th", "file:///etc/passwd", "ftp://host/file", "https://", "https://[x", "http://a b",
     "http://host:port/", "data:,x", "https://h\u00f4te/"],
)  # fmt: skip
def test_bad_addresses(part: Path, url: str) -> None:
    with pytest.raises(UsageError, match="expected an https:// address"):
        fetch(url, part)
    assert not part.parent.exists()


def test_a_folder_that_cannot_be_made(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NcodecError, match="model.part: cannot be written: "):
        fetch(site.url, tmp_path / "file" / "model.part")


def test_a_full_disk(site: Site, part: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    part.parent.mkdir()
    part.symlink_to(full)
    with pytest.raises(NcodecError, match="model.part: cannot be written: No space left"):
        fetch(site.url, part)


def test_the_table() -> None:
    documented = (Path(__file__).parents[2] / "docs" / "MODELS.md").read_text()
    for name, model in public_models().items():
        assert model.kind in ("codec", "ecdc-lm", "entropy")
        assert not model.entropy or public_model(model.entropy).kind == "entropy"
        assert name in (model.model_id, f"{model.model_id}_lm")
        assert model.url.startswith("https://") or not model.url
        if name != "encodec_32khz":  # no digest of it, and no commit, is known
            assert len(model.sha256) in ((8, 64) if model.url else (0,))
        assert int(model.sha256 or "0", 16) >= 0
        at_a_commit = re.search("/resolve/[0-9a-f]{40}/", model.url) is not None
        is_pinned = at_a_commit or "/releases/download/" in model.url
        assert is_pinned or model.sha256[:8] in model.url  # what is there never changes
        assert model.home.startswith("https://")
        assert f"`{name}`" in documented
    assert public_model("encodec_24khz").n_bytes == 93_171_529
    with pytest.raises(UsageError, match="'nix' is no public model; known: encodec_24khz, "):
        public_model("nix")
