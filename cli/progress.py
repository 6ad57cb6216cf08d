"""What the user sees while files are made and when they are done."""

import contextlib
import sys
from collections.abc import Callable, Generator

from ncodec.cli.errors import tell


@contextlib.contextmanager
def progress_bar(
    title: str, seconds: float | None, *, quiet: bool
) -> Generator[Callable[[float], None], None, None]:
    """Show progress on a terminal; gives the function to call with seconds that were done."""
    if quiet or not _is_terminal():
        yield lambda seconds: None
        return
    from tqdm import tqdm

    with tqdm(total=seconds, desc=title, unit="s", unit_scale=True, leave=False) as bar:

        def advance(seconds: float) -> None:
            bar.update(seconds)

        yield advance


@contextlib.contextmanager
def download_bar(title: str) -> Generator[Callable[[int, int | None], None], None, None]:
    """Show progress on a terminal; gives the function to call with bytes done and of the whole."""
    if not _is_terminal():
        yield lambda done, total: None
        return
    from tqdm import tqdm

    with tqdm(desc=title, unit="B", unit_scale=True, leave=False) as bar:

        def show(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show


def _is_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()  # pyright: ignore[reportUnnecessaryComparison]


def say(text: str, *, quiet: bool) -> None:
    """Print a summary."""
    if not quiet:
        tell(text)


def clock(seconds: float) -> str:
    """Return seconds as m:ss.s or h:mm:ss.s."""
    tenths = round(seconds * 10)
    minutes, tenths = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    start = f"{hours}:{minutes:02}" if hours else f"{minutes}"
    return f"{start}:{tenths // 10:02}.{tenths % 10}"


def speed(seconds: float, elapsed_s: float) -> str:
    """Return how many times faster than real time something was."""
    return f"{seconds / max(elapsed_s, 1e-9):.3g}x real time"
