"""Trees in an object store: an S3 server of moto on this machine, for both engines."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from trees import contents, convert, make_audio, make_mixed

from ncodec.batch import Outcome
from ncodec.batch.storage import STATE

pytest.importorskip("moto", reason="needs moto[server,s3], an S3 server")
pytest.importorskip("s3fs", reason="needs s3fs")
pytestmark = pytest.mark.xdist_group("ray")
ENGINES = ("local", pytest.param("ray", marks=pytest.mark.slow))


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """An empty S3 server; returns its address."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Any:
    """A bucket with a library in it, which workers find by their environment; returns its files."""
    import fsspec

    for name, value in {
        "AWS_ENDPOINT_URL": server, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    fs: Any = fsspec.filesystem("s3", skip_instance_cache=True)
    name = request.node.name.replace("[", "-").replace("]", "").replace("_", "-")
    fs.mkdir(name)
    make_mixed(Path("lib"))
    make_audio("lib/Größe 音楽 $(x) 'y' &z.flac", title="Ü")
    for path in Path("lib").rglob("*"):
        if path.is_file() and "\udcff" not in str(path):  # names there are Unicode
            fs.put_file(str(path), f"{name}/{path}")
        elif path.is_file():
            path.unlink()
    yield fs, name
    with contextlib.suppress(Exception):
        fs.rm(name, recursive=True)


def objects(fs: Any, root: str) -> dict[str, bytes]:
    """Return all files but those of the state."""
    fs.invalidate_cache()
    return {
        path.removeprefix(f"{root}/"): fs.cat_file(path)
        for path in fs.find(root)
        if f"/{STATE}/" not in path
    }


def statuses(outcomes: list[Outcome]) -> set[str]:
    return {outcome.status for outcome in outcomes}


@pytest.mark.parametrize("engine", ENGINES)
def test_from_bucket_to_bucket_and_back(bucket: Any, engine: str) -> None:
    if engine == "ray":
        pytest.importorskip("ray", reason="needs the extra ncodec[ray]")
    fs, name = bucket
    how: dict[str, Any] = {"n_workers": 2, "engine": engine}
    there = convert(f"s3://{name}/lib", f"s3://{name}/small", model="tiny", verify=True, **how)
    outcomes = [*there]
    assert statuses(outcomes) == {"done"}, outcomes
    [*convert("lib", "alone", model="tiny", n_workers=0)]
    assert objects(fs, f"{name}/small") == contents(Path("alone"))
    assert len(outcomes) == len(contents(Path("alone")))

    again = [*convert(f"s3://{name}/lib", f"s3://{name}/small", model="tiny", **how)]
    assert statuses(again) == {"skipped"}

    back = [*convert(f"s3://{name}/small", "back", decode=True, **how)]
    assert [out.source for out in back if out.status != "done"] == ["nothing.ncx"], back
    [*convert("alone", "back alone", decode=True, n_workers=0)]
    assert contents(Path("back")) == contents(Path("back alone"))


@pytest.mark.parametrize("engine", ["local", pytest.param("ray", marks=pytest.mark.slow)])
def test_codes_from_bucket_to_bucket(bucket: Any, engine: str) -> None:
    if engine == "ray":
        pytest.importorskip("ray", reason="needs the extra ncodec[ray]")
    from clips import make_clips

    from ncodec.batch.data import ExportOptions, export

    fs, name = bucket
    options = ExportOptions("webdataset", shard_size=4)
    for path in make_clips(Path("coded"), 12).rglob("*.*"):
        fs.put_file(str(path), f"{name}/{path}")
    fs.pipe_file(f"{name}/coded/bad.ncx", b"no .ncx")
    Path("coded/bad.ncx").write_bytes(b"no .ncx")
    out = f"s3://{name}/tokens"
    n_workers = 2 if engine == "ray" else 0
    done = export([f"s3://{name}/coded"], out, options, n_workers=n_workers, engine=engine)
    assert (done.n_clips, done.n_shards, len(done.failures)) == (12, 4, 1)
    assert done.failures[0].startswith(f"s3://{name}/coded/bad.ncx: ")
    export(["coded"], "alone", options, n_workers=0)
    found, alone = objects(fs, f"{name}/tokens"), contents(Path("alone"))
    for own in ("export.json", "failed.jsonl"):  # with the times and the places of the files
        del found[own], alone[own]
    assert found == alone
    again = export([f"s3://{name}/coded"], out, options, n_workers=0)
    assert (again.n_shards_before, again.failures) == (4, done.failures)


def test_what_changed_there_is_done_again(bucket: Any) -> None:
    fs, name = bucket
    places = (f"s3://{name}/lib", f"s3://{name}/small")
    [*convert(*places, model="tiny", n_workers=0)]
    before = objects(fs, f"{name}/small")
    fs.put_file(str(make_audio("new.wav", 5000)), f"{name}/lib/mono.wav")
    fs.pipe_file(f"{name}/lib/broken.flac", b"fLaC")
    outcomes = {out.source: out for out in convert(*places, model="tiny", n_workers=0)}
    assert {out.source for out in outcomes.values() if out.status == "done"} == {"mono.wav"}
    assert outcomes["broken.flac"].status == "failed"
    after = objects(fs, f"{name}/small")
    assert {path for path in after if after[path] != before[path]} == {"mono.ncx"}


def test_a_bucket_that_is_not_there(bucket: Any) -> None:
    from ncodec.errors import UsageError

    with pytest.raises(UsageError, match=r"^s3://nosuch/lib: no such folder$"):
        [*convert("s3://nosuch/lib", "small", model="tiny", n_workers=0)]
    with pytest.raises(UsageError, match=r"^s3://nosuch/small: there is no nosuch$"):
        [*convert("lib", "s3://nosuch/small", model="tiny", n_workers=0)]
