"""What the system does to a command: a full disk, no permission, a pipe that closes, odd files.

Each time: one clear line on stderr, the exit code of docs/CLI.md, and no output left behind.
"""

import contextlib
import os
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from forking import HANG_S, Ended, Here, Warm

from ncodec.formats.ncx import Packet, Reader, Writer
from ncodec.formats.ncx.cursor import CHUNK_BYTES

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and Linux's devices")
FULL = "No space left on device"
ENCODE = ("encode", "-m", "tiny")
REPACK = ("repack", "--entropy", "packed")
JOBS = {
    "encode": (*ENCODE, "song.wav", "-o", "new.ncx"),
    "decode": ("decode", "song.ncx", "-o", "new.wav"),
    "decode_flac": ("decode", "song.ncx", "-o", "new.flac"),
    "repack": (*REPACK, "song.ncx", "-o", "new.ncx"),
    "tags": ("tags", "--set", "TITLE=x", "song.ncx", "-o", "new.ncx"),
}
READERS = {  # of one input each, and the rest of their arguments
    "encode": (ENCODE, ("-o", "new.ncx")),
    "decode": (("decode",), ("-o", "new.wav")),
    "repack": (REPACK, ("-o", "new.ncx")),
    "change_tags": (("tags", "--set", "TITLE=x"), ("-o", "new.ncx")),
    "tags": (("tags",), ()),
    "verify": (("verify",), ()),
    "inspect": (("inspect",), ()),
}
Args = tuple[str, ...]
each_job = pytest.mark.parametrize("args", JOBS.values(), ids=JOBS.keys())


def refused(ended: Ended, *said: str, code: int = 1) -> None:
    """Check that a command failed with one line that says so much."""
    assert ended.code == code, ended
    assert ended.err.startswith("ncodec: error: "), ended
    assert ended.err.index("\n") == len(ended.err) - 1, ended
    for part in said:
        assert part in ended.err
    assert ended.out == b""


def unreadable(ended: Ended, command: str, name: str) -> None:
    """Check that an input was refused as the command does that."""
    if command == "verify":
        assert (ended.code, ended.err) == (1, "")
        assert ended.out.startswith(f"{name}: FAILED: ".encode())
        assert ended.out.count(b"\n") == 1
    elif (command, name) == ("change_tags", "standard input"):
        refused(ended, name, code=2)
    else:
        refused(ended, name)


def done(ended: Ended) -> None:
    assert ended.code == 0, ended
    assert "error" not in ended.err


def to(args: Args, target: str) -> Args:
    """Return the arguments with another output."""
    return (*args[:-1], target)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@contextlib.contextmanager
def feeding(fifo: Path, content: bytes) -> Iterator[None]:
    """Make a pipe with a name, into which `content` is written when somebody reads it."""

    def feed() -> None:
        with contextlib.suppress(BrokenPipeError), fifo.open("wb") as file:
            file.write(content)

    with in_a_thread(fifo, feed):
        yield


@contextlib.contextmanager
def draining(fifo: Path) -> Iterator[Callable[[], bytes]]:
    """Make a pipe with a name; gives the function that returns what was written into it."""
    parts: list[bytes] = []

    def drain() -> None:
        with fifo.open("rb") as file:
            parts.append(file.read())

    with in_a_thread(fifo, drain) as join:

        def drained() -> bytes:
            join()
            return parts[0]

        yield drained


@contextlib.contextmanager
def in_a_thread(fifo: Path, work: Callable[[], None]) -> Iterator[Callable[[], None]]:
    """Do `work` at one end of a pipe while others do what they do at the other."""
    os.mkfifo(fifo)
    thread = threading.Thread(target=work, daemon=True)
    thread.start()

    def join() -> None:
        with contextlib.suppress(OSError):  # spare it from waiting for a partner for ever
            os.close(os.open(fifo, os.O_RDWR | os.O_NONBLOCK))
        thread.join(HANG_S)
        assert not thread.is_alive()

    yield join
    join()


# A full disk


@each_job
def test_a_limit_of_the_file_size(here: Here, args: Args) -> None:
    refused(here.run(*args, limits={"FSIZE": 600}), args[-1])
    assert here.new == []


@pytest.fixture
def small_disk(here: Here) -> Iterator[Path]:
    """A file system of 16 KiB in the folder `disk`."""
    disk = here / "disk"
    disk.mkdir()
    with mounted(disk, "size=16k"):
        yield disk


@contextlib.contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    try:
        command = ("mount", "-t", "tmpfs", "-o", options, "none", str(folder))
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a file system cannot be mounted here: {error}")
    try:
        yield
    finally:
        subprocess.run(("umount", "-l", folder), check=True)


@on_linux
@each_job
def test_a_full_file_system(here: Here, small_disk: Path, args: Args) -> None:
    target = small_disk / args[-1]
    target.write_bytes(b"older")
    (small_disk / "big").write_bytes(bytes(12 << 10))
    refused(here.run(*to(args, str(target)), "-f"), str(target))
    target.unlink()
    (small_disk / "big").write_bytes(bytes(16 << 10))
    refused(here.run(*to(args, str(target))), str(target))
    assert names_in(small_disk) == ["big"]


@on_linux
def test_an_older_file_outlives_a_full_disk(here: Here, small_disk: Path) -> None:
    target = small_disk / "new.wav"
    target.write_bytes(b"older")
    refused(here.run("decode", "song.ncx", "-fo", str(target)), str(target), FULL)
    assert names_in(small_disk) == ["new.wav"]
    assert target.read_bytes() == b"older"


@on_linux
def test_no_room_for_another_file(here: Here) -> None:
    disk = here / "disk"
    disk.mkdir()
    with mounted(disk, "nr_inodes=1"):
        refused(here.run(*to(JOBS["encode"], "disk/new.ncx")), "disk/new.ncx", FULL)


@on_linux
def test_no_room_for_the_copy_of_a_stream(here: Here, small_disk: Path) -> None:
    # What cannot be read as it comes, or written so, is copied to a temporary file.
    with feeding(here / "fifo.flac", (here / "song.flac").read_bytes()):
        args = (*ENCODE, "fifo.flac", "-o", "new.ncx")
        refused(here.run(*args, env={"TMPDIR": str(small_disk)}), FULL)
    with draining(here / "fifo.ogg") as drained:
        args = ("decode", "--format", "flac", "song.ncx", "-o", "fifo.ogg")
        refused(here.run(*args, env={"TMPDIR": str(small_disk)}), "fifo.ogg", "disk full")
    assert drained() == b""
    assert here.new == ["disk", "fifo.flac", "fifo.ogg"]
    assert names_in(small_disk) == []


@on_linux
@each_job
def test_a_full_device(here: Here, args: Args) -> None:
    target = ("--format", "wav", "-o", "/dev/full") if args[0] == "decode" else ("-o", "/dev/full")
    refused(here.run(*args[:-2], *target), "/dev/full", FULL)
    assert here.new == []


@on_linux
@pytest.mark.parametrize(
    "args",
    [
        to(JOBS["encode"], "-"),
        to(JOBS["decode"], "-"),
        pytest.param(to(JOBS["repack"], "-"), marks=pytest.mark.slow),
        pytest.param(to(JOBS["tags"], "-"), marks=pytest.mark.slow),
        ("verify", "song.ncx"),
        pytest.param(("inspect", "song.ncx"), marks=pytest.mark.slow),
        pytest.param(("tags", "song.ncx"), marks=pytest.mark.slow),
        pytest.param(("--help",), marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def test_a_full_device_as_standard_output(here: Here, args: Args) -> None:
    refused(here.run(*args, stdout="/dev/full"), "standard output", FULL)


@on_linux
def test_a_full_device_for_messages(here: Here) -> None:
    ended = here.run(*JOBS["encode"], stderr="/dev/full")
    assert ended.code in (0, 1)  # the file is there; nobody can be told


# No permission


@pytest.fixture
def unwritable(here: Here) -> Iterator[Here]:
    """The same songs in a folder that nobody may write to."""
    subprocess.run(("chmod", "-R", "a=rX", here.folder), check=True)
    yield here
    here.folder.chmod(0o700)


@each_job
def test_a_folder_that_cannot_be_written(unwritable: Here, args: Args) -> None:
    refused(unwritable.run(*args, unprivileged=True), args[-1], "Permission denied")
    assert unwritable.new == []


def test_a_file_that_cannot_be_written(unwritable: Here) -> None:
    before = (unwritable / "song.wav").read_bytes()
    for args in (("decode", "-f", "song.ncx"), ("tags", "--clear", "--set", "A=b", "song.ncx")):
        ended = unwritable.run(*args, unprivileged=True)
        refused(ended, "song.wav" if "decode" in args else "song.ncx", "Permission denied")
    assert (unwritable / "song.wav").read_bytes() == before
    assert unwritable.new == []


@each_job
def test_a_file_that_cannot_be_read(here: Here, args: Args) -> None:
    source = args[-3]
    (here / source).chmod(0)
    refused(here.run(*args, unprivileged=True), source, "Permission denied")
    assert here.new == []


@on_linux
@each_job
def test_a_read_only_file_system(here: Here, small_disk: Path, args: Args) -> None:
    subprocess.run(("mount", "-o", "remount,ro", small_disk), check=True)
    target = str(small_disk / args[-1])
    refused(here.run(*to(args, target)), target, "Read-only file system")
    assert names_in(small_disk) == []


@on_linux
@pytest.mark.parametrize("folder", ["/proc", "/sys"])
def test_a_folder_of_the_kernel(here: Here, folder: str) -> None:
    refused(here.run(*to(JOBS["encode"], f"{folder}/new.ncx")), f"{folder}/new.ncx: cannot be")


# Pipes


def test_head_closes_the_pipe(here: Here, cache: Path) -> None:
    ncodec = shlex.join((sys.executable, "-m", "ncodec"))
    shell = subprocess.run(
        ["sh", "-c", f"{{ {ncodec} decode song.ncx -o -; echo $? >code; }} | head -c 100"],
        cwd=here.folder, env=os.environ | {"NCODEC_CACHE": str(cache)}, capture_output=True,
        timeout=HANG_S, check=True,
    )  # fmt: skip
    assert len(shell.stdout) == 100
    assert shell.stderr == b""
    assert (here / "code").read_text() == "141\n"


@on_linux
@each_job
@pytest.mark.parametrize("standard", [True, False], ids=["standard_output", "named"])
def test_a_pipe_that_closes(here: Here, args: Args, standard: bool) -> None:
    fifo = here / f"fifo{Path(args[-1]).suffix}"
    os.mkfifo(fifo)
    ours = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):  # so full that nothing can be written
        while True:
            os.write(ours, bytes(1 << 12))
    if standard:
        child = here.start(*to(args, "-"), stdout=fifo)
    else:
        child = here.start(*to(args, fifo.name))
    wait_until_open(child.pid, fifo)
    os.close(ours)
    ended = child.wait()
    assert (ended.code, ended.err) == (141, "")
    assert here.new == [fifo.name]


def wait_until_open(pid: int, path: Path, n_times: int = 1) -> None:
    """Wait until a process has a file open, so many times."""
    give_up = time.monotonic() + HANG_S
    while time.monotonic() < give_up:
        links = Path(f"/proc/{pid}/fd").iterdir()
        with contextlib.suppress(FileNotFoundError):  # a descriptor that was just closed
            if sum(link.readlink() == path for link in links) >= n_times:
                return
    pytest.fail(f"{path} was not opened")


@pytest.mark.parametrize("song", ["song.wav", "song.flac"])
def test_encode_between_pipes(here: Here, song: str) -> None:
    with feeding(here / "in", (here / song).read_bytes()), draining(here / "out.ncx") as drained:
        done(here.run(*ENCODE, "in", "-o", "out.ncx"))
    assert drained() == (here / "song.ncx").read_bytes()


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
def test_decode_between_pipes(here: Here, suffix: str) -> None:
    done(here.run("decode", "song.ncx", "-o", f"new.{suffix}"))
    content = (here / "song.ncx").read_bytes()
    with feeding(here / "in", content), draining(here / f"out.{suffix}") as drained:
        done(here.run("decode", "in", "-o", f"out.{suffix}"))
    if suffix != "ogg":  # which has a random number in it
        assert drained() == (here / f"new.{suffix}").read_bytes()
    assert drained()[:4] == (here / f"new.{suffix}").read_bytes()[:4]


@pytest.mark.parametrize("args", [JOBS["repack"], JOBS["tags"]], ids=["repack", "tags"])
def test_other_commands_between_pipes(here: Here, args: Args) -> None:
    done(here.run(*args))
    with (
        feeding(here / "in", (here / "song.ncx").read_bytes()),
        draining(here / "out.ncx") as drained,
    ):
        done(here.run(*args[:-3], "in", "-o", "out.ncx"))
    assert drained() == (here / "new.ncx").read_bytes()


@each_job
@pytest.mark.parametrize("n_bytes", [30, 1000])
def test_a_pipe_that_ends_early(here: Here, args: Args, n_bytes: int) -> None:
    content = (here / args[-3]).read_bytes()
    with feeding(here / "in", content[:n_bytes]):
        ended = here.run(*args[:-3], "in", "-o", args[-1])
    if args[0] == "tags" and n_bytes == 1000:
        done(ended)  # behind the header it takes what there is
    else:
        refused(ended, "in: ")
        assert here.new == ["in"]


@each_job
def test_a_pipe_that_nobody_fills(here: Here, args: Args) -> None:
    with feeding(here / "in", b""):
        refused(here.run(*args[:-3], "in", "-o", args[-1]), "in: ")
    assert here.new == ["in"]


def test_a_last_write_that_is_cut_short_without_a_buffer(here: Here) -> None:
    done(here.run("decode", "song.ncx", "-o", "new.wav"))
    limit = (here / "new.wav").stat().st_size - 100
    args = ("decode", "song.ncx", "-o", "-")
    ended = here.run(*args, stdout=here / "cut.wav", limits={"FSIZE": limit}, before=UNBUFFERED)
    assert ended.code == 1, "a file that is cut short counts as done"


UNBUFFERED = """  # as PYTHONUNBUFFERED=1 has it
import io, sys
raw = io.FileIO(1, "w", closefd=False)
raw.name = "<stdout>"
sys.stdout = io.TextIOWrapper(raw, "utf-8", write_through=True)
"""


# Sources that change while they are read

AFTER_THE_FIRST_BLOCK = """
import os, shutil
from ncodec.audio import AudioSource
from ncodec.formats.ncx import Reader

def meddle(read):
    def reading(*args):
        for number, piece in enumerate(read(*args)):
            yield piece
            if number == 0:
                {change}
    return reading

AudioSource.blocks = meddle(AudioSource.blocks)
Reader.__iter__ = meddle(Reader.__iter__)
"""
SHORTER = "os.truncate({name!r}, os.path.getsize({name!r}) - 1000)"
LONGER = "open({name!r}, 'ab').write(bytes(1000))"
OTHER = "file = open({name!r}, 'r+b', 0); file.seek(-1000, 2); file.write(bytes(999))"
REMOVED = "os.unlink({name!r})"
REPLACED = "os.replace('spare', {name!r})"
each_change = pytest.mark.parametrize(
    "change",
    [SHORTER, LONGER, OTHER, REMOVED, REPLACED],
    ids=["shorter", "longer", "other", "removed", "replaced"],
)


def after_the_first_block(change: str, name: str) -> str:
    return AFTER_THE_FIRST_BLOCK.format(change=change.format(name=name))


@pytest.fixture(scope="session")
def long_songs(warm: Warm, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """long.wav, of 3 blocks, and wide.ncx, of 3 packets of which the first is read at once."""
    folder = tmp_path_factory.mktemp("long")
    noise = np.random.default_rng(2).integers(-3000, 3000, (200_000, 8), np.int16)
    soundfile.write(folder / "wide.wav", noise, 8000, "PCM_16")
    soundfile.write(folder / "long.wav", noise[:, 0], 8000, "PCM_16")
    env = {"NCODEC_CACHE": str(cache)}
    done(warm.run(*ENCODE, "wide.wav", "--entropy", "adaptive", cwd=folder, env=env))
    packets = rewrite(folder / "wide.ncx", tags=(("COMMENT", "x" * 40_000),))
    assert packets[1].offset < CHUNK_BYTES - (8 << 10)
    assert packets[2].offset > CHUNK_BYTES
    return folder


def rewrite(path: Path, **changes: Any) -> list[Packet]:
    """Change the header of a file, and nothing else."""
    with path.open("rb") as stream:
        reader = Reader(stream)
        packets = list(reader)
    assert reader.trailer is not None
    with path.open("wb") as stream:
        writer = Writer(stream, replace(reader.header, **changes))
        packets = [
            writer.write_packet(packet.n_frames, packet.payload, scales=packet.scales)
            for packet in packets
        ]
        writer.finish(reader.trailer.codes_digest)
    return packets


@pytest.fixture
def there(long_songs: Path, tmp_path: Path, warm: Warm, cache: Path) -> Here:
    shutil.copytree(long_songs, tmp_path, dirs_exist_ok=True)
    shutil.copy(tmp_path / "long.wav", tmp_path / "spare")
    return Here(tmp_path, warm, cache)


@each_change
def test_audio_that_changes_while_it_is_read(there: Here, change: str) -> None:
    before = after_the_first_block(change, "long.wav")
    ended = there.run(*ENCODE, "long.wav", "-o", "new.ncx", before=before)
    if change == SHORTER:
        refused(ended, "long.wav: truncated or damaged: the header announces 200000 samples, ")
        assert there.new == []
    else:  # other samples cannot be told from those that were there
        done(ended)
        done(there.run("verify", "new.ncx"))


@each_change
@pytest.mark.parametrize("command", ["decode", "repack"])
def test_codes_that_change_while_they_are_read(there: Here, command: str, change: str) -> None:
    args, output = READERS[command]
    before = after_the_first_block(change, "wide.ncx")
    ended = there.run(*args, "wide.ncx", *output, before=before)
    if change in (REMOVED, REPLACED):
        done(ended)  # what was opened is read to its end
    else:
        refused(ended, "wide.ncx: ")
        assert there.new == []


@pytest.mark.parametrize("name", ["new.wav", "new.flac"])
def test_a_folder_that_goes_away(there: Here, name: str) -> None:
    (there / "gone").mkdir()
    before = after_the_first_block("shutil.rmtree('gone')", "")
    ended = there.run("decode", "wide.ncx", "-o", f"gone/{name}", before=before)
    refused(ended, f"gone/{name}: ")
    assert there.new == []


# Inputs that are no files

each_reader = pytest.mark.parametrize("command", READERS)


@each_reader
def test_a_folder_as_input(here: Here, command: str) -> None:
    (here / "folder").mkdir()
    args, output = READERS[command]
    unreadable(here.run(*args, "folder", *output), command, "folder")
    assert here.new == ["folder"]


@on_linux
@each_reader
@pytest.mark.parametrize("device", ["/dev/zero", "/dev/urandom", "/dev/null"])
def test_a_device_as_input(here: Here, command: str, device: str) -> None:
    args, output = READERS[command]
    ended = here.run(*args, device, *output, limits={"AS": 256 << 20})
    unreadable(ended, command, device)
    assert here.new == []


@on_linux
@each_reader
@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null"])
def test_a_device_as_standard_input(here: Here, command: str, device: str) -> None:
    args, output = READERS[command]
    ended = here.run(*args, "-", *output, stdin=device, limits={"AS": 256 << 20})
    unreadable(ended, command, "standard input")
    assert here.new == []


@on_linux
@each_reader
def test_a_pipe_without_an_end(here: Here, command: str) -> None:
    # It is no audio, but to tell it is copied to the disk, which has an end.
    limits = {"AS": 256 << 20, "FSIZE": 16 << 20}
    args, output = READERS[command]
    with subprocess.Popen(("cat", "/dev/zero"), stdout=subprocess.PIPE) as zeros:
        assert zeros.stdout is not None
        pipe = f"/proc/{os.getpid()}/fd/{zeros.stdout.fileno()}"
        ended = here.run(*args, "-", *output, stdin=pipe, limits=limits)
        zeros.kill()
    unreadable(ended, command, "standard input")
    assert here.new == []


@on_linux
@pytest.mark.parametrize("standard", [True, False], ids=["standard_input", "named"])
def test_a_pipe_to_inspect(here: Here, standard: bool) -> None:
    fifo = here / "in"
    with feeding(fifo, (here / "song.ncx").read_bytes()):
        source, stdin = ("-", fifo) if standard else (fifo, os.devnull)
        done(here.run("inspect", source, stdin=stdin))


# Files that promise more than they hold

PROMISES = {
    "samples": {"n_samples": 2**63 - 2},
    "long": {"n_samples": 2**40},
    "rate": {"source_sample_rate_hz": 1_000_000},
    "slow": {"source_sample_rate_hz": 1},
    "fast_and_long": {"source_sample_rate_hz": 1_000_000, "n_samples": 2**63 - 2},
    "tags": {"tags": tuple((f"K{number}", "x" * 50) for number in range(1000))},
    "tag": {"tags": (("TITLE", "x" * 65_000),)},
}


@on_linux
@pytest.mark.parametrize("command", ["decode", "decode_flac", "repack", "verify", "inspect"])
@pytest.mark.parametrize("promise", PROMISES)
def test_a_header_that_promises_much(here: Here, promise: str, command: str) -> None:
    rewrite(here / "song.ncx", **PROMISES[promise])
    args = JOBS.get(command) or (command, "song.ncx")
    ended = here.run(*args, limits={"AS": 256 << 20, "FSIZE": 64 << 20})
    if ended.code == 0:
        done(ended)
    elif command == "verify" or (command == "inspect" and ended.out):
        assert (ended.code, ended.err) == (1, "")
    else:
        refused(ended)
        assert here.new == []
