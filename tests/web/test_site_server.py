"""The server gives a site's files, whole and in ranges, and nothing else."""

import http.client
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ncodec.errors import NcodecError
from ncodec.web.server import HOST, SiteServer, asked_range
from ncodec.web.site import Site

SONG = bytes(range(256)) * 1000


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SiteServer]:
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "site").mkdir()
    song = tmp_path / "site" / "a b#é.ncx"
    song.write_bytes(SONG)
    page = tmp_path / "site" / "gone.js"
    contents = {"index.html": b"<p>", "a b#é.ncx": song, "ncx/x.js": b"1", "gone.js": page}
    with SiteServer(Site(contents, 1, 0)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(
    server: SiteServer, path: str, method: str = "GET", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(HOST, server.server_port, timeout=10)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    found = answer.status, dict(answer.getheaders()), answer.read()
    connection.close()
    return found


@pytest.mark.parametrize(
    ("path", "media_type", "body"),
    [
        ("/", "text/html; charset=utf-8", b"<p>"),
        ("/index.html?file=song.ncx", "text/html; charset=utf-8", b"<p>"),
        ("/ncx/x.js", "text/javascript; charset=utf-8", b"1"),
        ("/a%20b%23%C3%A9.ncx", "audio/x-ncx", SONG),
    ],
    ids=["page", "query", "module", "song"],
)
def test_files_are_given_whole(server: SiteServer, path: str, media_type: str, body: bytes) -> None:
    status, headers, got = ask(server, path)
    assert (status, headers["Content-Type"], got) == (200, media_type, body)
    assert headers["Accept-Ranges"] == "bytes"
    status, headers, got = ask(server, path, "HEAD")
    assert (status, headers["Content-Length"], got) == (200, str(len(body)), b"")


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=1000-", 1000, len(SONG)),
        ("bytes=-10", len(SONG) - 10, len(SONG)),
        ("bytes=5-999999999", 5, len(SONG)),
        ("bytes=-999999999", 0, len(SONG)),
    ],
)
def test_ranges(server: SiteServer, asked: str, start: int, end: int) -> None:
    status, headers, got = ask(server, "/a%20b%23%C3%A9.ncx", Range=asked)
    assert (status, got) == (206, SONG[start:end])
    assert headers["Content-Range"] == f"bytes {start}-{end - 1}/{len(SONG)}"


@pytest.mark.parametrize("asked", [f"bytes={len(SONG)}-", "bytes=-0"])
def test_ranges_that_hold_nothing(server: SiteServer, asked: str) -> None:
    status, headers, got = ask(server, "/a%20b%23%C3%A9.ncx", Range=asked)
    assert (status, headers["Content-Range"], got) == (416, f"bytes */{len(SONG)}", b"")


@pytest.mark.parametrize(
    "asked", ["bytes=5-4", "bytes=-", "bytes=0-1,3-4", "lines=1-2", "bytes=x-", "bytes=" + "9" * 99]
)
def test_other_range_headers_are_ignored(asked: str) -> None:
    assert asked_range(asked, 10) is None


@pytest.mark.parametrize(
    "path",
    ["/../secret.txt", "/%2e%2e/secret.txt", "//etc/passwd", "/ncx/", "/ncx", "/gone.js", "/%ff"],
)
def test_nothing_else_is_given(server: SiteServer, path: str) -> None:
    assert ask(server, path)[0] == 404


def test_other_hosts_names_and_other_methods_are_refused(server: SiteServer) -> None:
    assert ask(server, "/", Host=f"localhost:{server.server_port}")[0] == 200
    assert ask(server, "/", Host=f"evil.example:{server.server_port}")[0] == 421
    assert ask(server, "/", "POST")[0] == 501


def test_a_connection_takes_several_requests(server: SiteServer) -> None:
    connection = http.client.HTTPConnection(HOST, server.server_port, timeout=10)
    for path, body in (("/ncx/x.js", b"1"), ("/a%20b%23%C3%A9.ncx", SONG), ("/", b"<p>")):
        connection.request("GET", path)
        assert connection.getresponse().read() == body
    connection.close()


def test_a_port_that_is_taken(server: SiteServer) -> None:
    with pytest.raises(NcodecError, match=f"port {server.server_port}: cannot be used: "):
        SiteServer(Site({}, 0, 0), server.server_port)
