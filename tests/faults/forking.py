"""`ncodec` in processes of its own, many a second: a warm one is forked for each.

Run as a program, this is the warm process: it has imported all that the commands need, torch above
all, and for every line that it is sent forks a child, which becomes `ncodec ...` and ends as a
program ends. Its children are processes in every respect that these tests are about.
"""

import contextlib
import ctypes
import gc
import io
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any, NoReturn

HANG_S = 120  # after so long a process counts as hanging
MODULES = (
    "soundfile", "soxr", "tqdm", "numpy", "torch", "safetensors.torch", "ncodec.audio",
    "ncodec.codec", "ncodec.decoding", "ncodec.bitstream.ecdc.convert", "ncodec.bitstream.inspect",
    "ncodec.hub.entropy_models", "ncodec.models.spectral",
    "ncodec.entropy.adaptive", "ncodec.models.registry", "ncodec.cli.main", "ncodec.cli.encode",
    "ncodec.cli.decode", "ncodec.cli.repack", "ncodec.cli.verify", "ncodec.cli.inspect",
)  # fmt: skip


@dataclass(frozen=True)
class Ended:
    """What a process came to: its exit code, or minus the signal that ended it."""

    code: int
    out: bytes
    err: str


class Child:
    """A process that runs a command."""

    def __init__(self, warm: "Warm", pid: int, out: Path, err: Path) -> None:
        self._warm, self.pid, self._out, self._err = warm, pid, out, err

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal; one that has ended takes no notice."""
        os.kill(self.pid, number)  # until `wait`, nobody else gets its number

    def wait(self) -> Ended:
        """Return what it came to."""
        code = self._warm.ask({"wait": self.pid})
        out = self._out.read_bytes() if self._out.is_file() else b""
        err = self._err.read_text() if self._err.is_file() else ""
        return Ended(code, out, err)


class Warm:
    """The warm process, seen from outside."""

    def __init__(self, folder: Path) -> None:
        ours, theirs = socket.socketpair()
        self._folder = folder  # for what the children print
        self._numbers = count()
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno())],
            pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL,
        )  # fmt: skip
        theirs.close()
        self._lines = ours.makefile("rw", encoding="utf-8")
        ours.close()
        assert self._lines.readline() == "ready\n"

    def ask(self, request: dict[str, Any]) -> int:
        """Send a line, return the number that comes back."""
        self._lines.write(json.dumps(request) + "\n")
        self._lines.flush()
        return int(self._lines.readline())

    def start(
        self, *args: str | Path, cwd: Path | str, stdin: Path | str = os.devnull,
        stdout: Path | str | None = None, stderr: Path | str | None = None,
        env: dict[str, str] | None = None, limits: dict[str, int] | None = None,
        unprivileged: bool = False, before: str = "",
    ) -> Child:  # fmt: skip
        """Start `ncodec *args`.

        limits        of the process, by the names of `resource`; AS on top of what it has already
        unprivileged  not above permissions, as root is
        before        code that the process runs first
        """
        number = next(self._numbers)
        out = self._folder / f"{number}.out" if stdout is None else Path(stdout)
        err = self._folder / f"{number}.err" if stderr is None else Path(stderr)
        pid = self.ask({
            "args": [os.fspath(arg) for arg in args], "cwd": os.fspath(cwd),
            "files": [os.fspath(stdin), str(out), str(err)], "env": env or {},
            "limits": limits or {}, "unprivileged": unprivileged, "before": before,
        })  # fmt: skip
        return Child(self, pid, out, err)

    def run(self, *args: str | Path, **options: Any) -> Ended:
        """Run `ncodec *args` to its end; the options are those of `start`."""
        return self.start(*args, **options).wait()

    def close(self) -> None:
        """End the warm process."""
        self._lines.close()
        self._process.wait(HANG_S)


class Here:
    """A folder with songs in it, and commands that run there."""

    def __init__(self, folder: Path, warm: Warm, cache: Path) -> None:
        self.folder, self.warm = folder, warm
        self._env = {"NCODEC_CACHE": str(cache)}
        self._before = set(self.names())

    def __truediv__(self, name: str) -> Path:
        return self.folder / name

    def start(self, *args: str | Path, **options: Any) -> Child:
        env = self._env | options.pop("env", {})
        return self.warm.start(*args, cwd=self.folder, env=env, **options)

    def run(self, *args: str | Path, **options: Any) -> Ended:
        return self.start(*args, **options).wait()

    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())

    @property
    def new(self) -> list[str]:
        """Names, hidden ones too, that were not there at first."""
        return [name for name in self.names() if name not in self._before]


@contextlib.contextmanager
def warm_process(folder: Path) -> Iterator[Warm]:
    """Keep a warm process for a while."""
    warm = Warm(folder)
    try:
        yield warm
    finally:
        warm.close()


def serve(lines: Any) -> list[str]:
    """Do what is asked for; return in a child, with the arguments of its command."""
    lines.write("ready\n")
    lines.flush()
    while line := lines.readline():
        request = json.loads(line)
        if "wait" in request:
            answer = wait_for(request["wait"])
        elif (answer := os.fork()) == 0:
            lines.close()
            become(request)
            return request["args"]
        lines.write(f"{answer}\n")
        lines.flush()
    os._exit(0)


def wait_for(pid: int) -> int:
    """Wait for a child; one that hangs is killed with a signal that nobody else sends."""
    give_up = time.monotonic() + HANG_S
    while (ended := os.waitpid(pid, os.WNOHANG)) == (0, 0):
        if time.monotonic() > give_up:
            os.kill(pid, signal.SIGXCPU)
        time.sleep(0.0005)
    return os.waitstatus_to_exitcode(ended[1])


def become(request: dict[str, Any]) -> None:
    """Turn a fresh child into the process that was asked for."""
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    os.chdir(request["cwd"])
    os.environ.update(request["env"])
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    for number, path in enumerate(request["files"]):
        opened = os.open(path, flags if number else os.O_RDONLY, 0o666)
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)
    for name, limit in request["limits"].items():
        set_limit(name, limit)
    if request["unprivileged"] and sys.platform == "linux":  # others do not test as root
        drop_capabilities()
    sys.stdin, sys.stdout, sys.stderr = standard_stream(0), standard_stream(1), standard_stream(2)
    exec(request["before"], {})


def set_limit(name: str, limit: int) -> None:
    if name == "AS":
        limit += int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (limit, limit))


def drop_capabilities() -> None:
    """Leave root its files, but not its right to read and write what permissions deny it."""
    version_3, no_sets = 0x20080522, 6
    header, sets = (ctypes.c_uint32 * 2)(version_3, 0), (ctypes.c_uint32 * no_sets)()
    assert ctypes.CDLL(None, use_errno=True).capset(header, sets) == 0


def standard_stream(number: int) -> io.TextIOWrapper:
    """Return what the interpreter makes of a descriptor when it starts."""
    raw = io.FileIO(number, "w" if number else "r", closefd=False)
    raw.name = ("<stdin>", "<stdout>", "<stderr>")[number]  # type: ignore[misc]
    buffered = io.BufferedWriter(raw) if number else io.BufferedReader(raw)
    errors = "backslashreplace" if number == 2 else "strict"
    return io.TextIOWrapper(buffered, "utf-8", errors, line_buffering=number == 2)


def main() -> NoReturn:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # not to outlive the tests
    for name in MODULES:
        import_module(name)
    gc.freeze()  # spares the children from looking through all of it when they end
    arguments = serve(socket.socket(fileno=int(sys.argv[1])).makefile("rw", encoding="utf-8"))
    from ncodec.cli.main import main as ncodec

    try:
        ncodec(arguments, prog_name="ncodec")
    except SystemExit as ending:
        with contextlib.suppress(OSError):  # then the interpreter ends as it does, and says so
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(int(ending.code or 0))  # taking everything apart would be most of the work
        raise


if __name__ == "__main__":
    main()
