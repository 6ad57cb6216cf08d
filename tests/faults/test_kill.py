"""`kill -9`, whenever it strikes, leaves the older file, no file, or the whole new file.

So does Ctrl-C, which leaves no hidden file either.
"""

import itertools
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest
from forking import HANG_S, Ended, Warm

from ncodec.formats.atomic_files import PARTIAL_PREFIX

SIGKILLED = -9
OLDER = b"what was there before"


@dataclass(frozen=True)
class Command:
    """A command and the files that it makes; `in_place`: it reads them too."""

    args: tuple[str, ...]
    made: tuple[str, ...]
    in_place: bool = False


COMMANDS = {
    "encode": Command(("encode", "-qm", "tiny", "song.wav", "-o", "new.ncx"), ("new.ncx",)),
    "encode_several": Command(
        ("encode", "-qm", "tiny", "song.wav", "copy.flac", "-o", "made/"),
        ("made/song.ncx", "made/copy.ncx"),
    ),
    "decode": Command(("decode", "-q", "song.ncx", "-o", "new.wav"), ("new.wav",)),
    "decode_flac": Command(("decode", "-q", "song.ncx", "-o", "new.flac"), ("new.flac",)),
    "repack": Command(
        ("repack", "-q", "--entropy", "packed", "song.ncx", "-o", "new.ncx"), ("new.ncx",)
    ),
    "tags": Command(("tags", "--set", "TITLE=x", "song.ncx", "-o", "new.ncx"), ("new.ncx",)),
    "repair": Command(("repair", "-q", "cut.ncx", "-o", "new.ncx"), ("new.ncx",)),
    "join": Command(
        ("repack", "-q", "--join", "song.ncx", "song.ncx", "--start", "1", "-o", "new.ncx"),
        ("new.ncx",),
    ),
    "tags_in_place": Command(("tags", "--set", "TITLE=x", "song.ncx"), ("song.ncx",), True),
}
CASES = [
    pytest.param(command, older, id=f"{name}{'_over_an_older_file' if older else ''}")
    for name, command in COMMANDS.items()
    for older in (False, True)
    if not (older and command.in_place)
]
MOMENTS = ("any time", "output is near", "any time", "output appears")


class Victim(Protocol):
    """A process that can be killed."""

    def kill(self) -> None: ...
    def wait(self) -> Ended | int: ...


Mark = tuple[int, int, int]
Start = Callable[[tuple[str, ...], Path], Victim]


class Scene:
    """Where a command is killed, each time in a fresh folder."""

    def __init__(self, songs: Path, folder: Path, command: Command, older: bool) -> None:
        self._songs, self._folder, self._numbers = songs, folder, itertools.count()
        self._names = command.made
        self._older = older
        self.args = (*command.args, "-f") if older else command.args
        self.before = dict.fromkeys(self._names, OLDER if older else None)
        if command.in_place:
            self.before = {name: (songs / name).read_bytes() for name in self._names}
        self.after: dict[str, bytes | None] = {}
        self.seconds = 0.0  # that the command takes

    def fresh(self) -> Path:
        folder = self._folder / str(next(self._numbers))
        shutil.copytree(self._songs, folder)
        shutil.copy(folder / "song.flac", folder / "copy.flac")
        (folder / "cut.ncx").write_bytes((folder / "song.ncx").read_bytes()[:-5])
        for name in self._names if self._older else ():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(OLDER)
        return folder

    def found(self, folder: Path) -> dict[str, bytes | None]:
        """Return what the outputs hold."""
        return {name: content(folder / name) for name in self._names}

    def undisturbed(self, start: Start) -> None:
        """Learn what comes out, and how long that takes, the second time."""
        for _ in range(2):
            folder = self.fresh()
            started = time.perf_counter()
            assert code_of(start(self.args, folder)) == 0
            self.seconds = time.perf_counter() - started
        self.after = self.found(folder)
        assert not any(self.before[name] == what for name, what in self.after.items())
        assert None not in self.after.values()

    def kill(self, start: Start, moment: str, rng: random.Random) -> str:
        """Kill the command once; return the outcome."""
        folder = self.fresh()
        marks = [mark(folder / name) for name in self._names]
        victim = start(self.args, folder)
        if moment == "any time":
            time.sleep(rng.uniform(0, self.seconds))
        else:
            self._wait_for_output(folder, marks, hidden=moment == "output is near")
            time.sleep(rng.choice((0, rng.uniform(0, 0.001), rng.uniform(0, 0.02))))
        victim.kill()
        was_killed = code_of(victim) == SIGKILLED
        outcome = self.check(folder)
        shutil.rmtree(folder)
        return outcome if was_killed else "too late"

    def check(self, folder: Path) -> str:
        """Check that no output is in part what it should be; return which of the two it is."""
        found = self.found(folder)
        for name, what in found.items():
            assert what in (self.before[name], self.after[name]), (
                f"{name} has {len(what or b'')} bytes, of {len(self.after[name] or b'')}"
            )
        known = {
            *self._names,
            "made",
            "copy.flac",
            "cut.ncx",
            *(path.name for path in self._songs.iterdir()),
        }
        left = {path for path in folder.rglob("*") if str(path.relative_to(folder)) not in known}
        assert all(path.name.startswith(PARTIAL_PREFIX) for path in left), left
        return {0: "before", len(found): "after"}.get(
            sum(found[name] == self.after[name] for name in found), "between"
        )

    def _wait_for_output(self, folder: Path, marks: list[Mark], *, hidden: bool) -> None:
        """Return when an output has changed, or a hidden file has something in it."""
        places = {(folder / name).parent for name in self._names if hidden}
        give_up = time.monotonic() + HANG_S
        while time.monotonic() < give_up:
            partial = [path for place in places for path in place.glob(f"{PARTIAL_PREFIX}*")]
            if any(mark(path)[1] for path in partial):
                return
            if marks != [mark(folder / name) for name in self._names]:
                return
        pytest.fail("no output came")


def content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def mark(path: Path) -> Mark:
    """Return what changes when a file does: number, size, time."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return 0, 0, 0
    return status.st_ino, status.st_size, status.st_mtime_ns


def code_of(victim: Victim) -> int:
    """Wait for the end, and return the exit code."""
    ended = victim.wait()
    return ended if isinstance(ended, int) else ended.code


def forked(warm: Warm, cache: Path, before: str = "") -> Start:
    """Start commands by way of the warm process, each after some code."""
    env = {"NCODEC_CACHE": str(cache)}
    return lambda args, cwd: warm.start(*args, cwd=cwd, env=env, before=before)


def spawned(cache: Path) -> Start:
    """Start commands as a shell does."""
    env = os.environ | {"NCODEC_CACHE": str(cache)}
    silence = subprocess.DEVNULL
    return lambda args, cwd: subprocess.Popen(
        [sys.executable, "-m", "ncodec", *args], cwd=cwd, env=env,
        stdin=silence, stdout=silence, stderr=silence,
    )  # fmt: skip


def kill_often(scene: Scene, start: Start, n: int) -> Counter[str]:
    """Kill `n` times; count the outcomes."""
    rng = random.Random(f"{scene.args}")
    scene.undisturbed(start)
    moments = itertools.cycle(MOMENTS)
    return Counter(scene.kill(start, next(moments), rng) for _ in range(n))


@pytest.mark.parametrize(("command", "older"), CASES)
def test_killed_at_random(
    warm: Warm, cache: Path, songs: Path, tmp_path: Path, command: Command, older: bool
) -> None:
    kill_often(Scene(songs, tmp_path, command, older), forked(warm, cache), 4)


@pytest.mark.slow
@pytest.mark.parametrize(("command", "older"), CASES)
def test_killed_at_random_often(
    warm: Warm, cache: Path, songs: Path, tmp_path: Path, command: Command, older: bool
) -> None:
    outcomes = kill_often(Scene(songs, tmp_path, command, older), forked(warm, cache), 100)
    print(dict(outcomes))
    assert outcomes["before"] > 10


@pytest.mark.slow
@pytest.mark.parametrize(("command", "older"), CASES)
def test_killed_at_random_as_a_shell_starts_it(
    cache: Path, songs: Path, tmp_path: Path, command: Command, older: bool
) -> None:
    outcomes = kill_often(Scene(songs, tmp_path, command, older), spawned(cache), 16)
    print(dict(outcomes))
    assert outcomes["before"]


# Writers that are not atomic, which the tests above must catch.
IN_PLACE = """
import contextlib, pathlib
from ncodec.audio import sink
from ncodec.cli import inputs

@contextlib.contextmanager
def in_place(path, overwrite=False):
    yield pathlib.Path(path)

sink.atomic_output = inputs.atomic_output = in_place
"""
COPIED = """
import time
from ncodec.formats import atomic_files

def copy(partial, final, overwrite):
    with partial.open("rb") as source, final.open("wb", buffering=0) as file:
        while part := source.read(100):
            file.write(part)
            time.sleep(0.001)

atomic_files._publish = copy
"""


@pytest.mark.parametrize("writer", [IN_PLACE, COPIED], ids=["in_place", "copied"])
def test_writers_that_are_not_atomic_are_caught(
    warm: Warm, cache: Path, songs: Path, tmp_path: Path, writer: str
) -> None:
    scene = Scene(songs, tmp_path, COMMANDS["encode"], older=True)
    with pytest.raises(AssertionError, match=r"new.ncx has \d+ bytes, of \d+"):
        kill_often(scene, forked(warm, cache, writer), 500)


# A process that sends itself a signal before the n-th line of formats/atomic_files.py that it runs.
AT_STEP = """
import os, signal, sys
from pathlib import Path
from ncodec.formats import atomic_files

def trace(frame, event, arg):
    global left
    if frame.f_code.co_filename != atomic_files.__file__:
        return None
    left -= event == "line"
    if left == 0:
        signal.raise_signal(signal.{signal})
    return trace

left = {step}
sys.settrace(trace)
"""
WRITE = """
try:
    with atomic_files.atomic_output("new", overwrite={older}) as partial:
        partial.write_bytes(b"new")
except KeyboardInterrupt:
    os._exit(130)
os._exit(0)
"""
NO_LINKS = """
def refuse(*_):
    raise OSError(1, "Operation not permitted")

Path.hardlink_to = refuse
"""
NAME_FIRST = """
def publish(partial, final, overwrite):
    final.touch()
    partial.replace(final)

publish.__code__ = publish.__code__.replace(co_filename=atomic_files.__file__)
atomic_files._publish = publish
"""


def strike_at_every_step(
    warm: Warm, folder: Path, code: str, older: bool, signal: str = "SIGKILL"
) -> tuple[int, int]:
    """Write a file in a process that a signal strikes at one line after the other.

    Returns how many lines that are, and how often a hidden file was left.
    """
    n_left = 0
    for step in itertools.count(1):
        place = folder / str(step)
        place.mkdir()
        if older:
            (place / "new").write_bytes(OLDER)
        before = AT_STEP.format(step=step, signal=signal) + code + WRITE.format(older=older)
        ended = warm.run(cwd=place, before=before)
        found = content(place / "new")
        assert found in (OLDER if older else None, b"new"), f"new holds {found!r}"
        hidden = [path.name for path in place.iterdir() if path.name != "new"]
        assert all(name.startswith(PARTIAL_PREFIX) for name in hidden)
        n_left += len(hidden)
        if ended.code not in (SIGKILLED, 130):
            assert (ended.code, found, hidden) == (0, b"new", []), ended.err
            return step - 1, n_left
    raise AssertionError


@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize("code", ["", NO_LINKS], ids=["links", "no_links"])
def test_killed_at_every_step(warm: Warm, tmp_path: Path, code: str, older: bool) -> None:
    n_steps, n_left = strike_at_every_step(warm, tmp_path, code, older)
    assert n_steps > 25
    assert n_left > 10


@pytest.mark.parametrize("older", [False, True])
def test_interrupted_at_every_step(warm: Warm, tmp_path: Path, older: bool) -> None:
    n_steps, n_left = strike_at_every_step(warm, tmp_path, "", older, "SIGINT")
    assert n_steps > 25
    assert n_left <= 2  # where it strikes the very line that would remove it


def test_a_name_that_is_taken_first_is_caught(warm: Warm, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="new holds b''"):
        strike_at_every_step(warm, tmp_path, NAME_FIRST, older=False)


@pytest.mark.slow
@pytest.mark.parametrize(("command", "older"), CASES)
def test_commands_killed_at_every_step(
    warm: Warm, cache: Path, songs: Path, tmp_path: Path, command: Command, older: bool
) -> None:
    scene = Scene(songs, tmp_path, command, older)
    scene.undisturbed(forked(warm, cache))
    outcomes: Counter[str] = Counter()
    for step in itertools.count(1):
        folder = scene.fresh()
        code = code_of(
            forked(warm, cache, AT_STEP.format(step=step, signal="SIGKILL"))(scene.args, folder)
        )
        outcomes[scene.check(folder)] += 1
        shutil.rmtree(folder)
        if code != SIGKILLED:
            assert code == 0
            break
    print(dict(outcomes))
    assert outcomes["before"] > 15
    assert outcomes["after"] > 2
