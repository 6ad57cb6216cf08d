"""The .ncx files below folders or in tar files, what they must share, and what lies beside them."""

import json
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from ncodec.batch.conversion import open_storage
from ncodec.batch.data.places import RemoteFile, remote_files
from ncodec.batch.local_storage import LocalStorage
from ncodec.errors import NcodecError, UsageError
from ncodec.formats.ncx import Header, Reader

if TYPE_CHECKING:
    from ncodec.batch.remote_storage import RemoteStorage

SUFFIX = ".ncx"
_MOST_BESIDE_BYTES = 1 << 20  # of a text beside a file
_TEXT_TAGS = ("TRANSCRIPT", "TEXT")
_SPEAKER_TAGS = ("SPEAKER",)
_ALIKE = {
    "model_id": "model", "model_fingerprint": "weights", "n_streams": "streams",
    "codebook_size": "codebook size",
}  # fmt: skip

Source = str | PathLike[str]


@dataclass(frozen=True, slots=True)
class Clip:
    """A .ncx file, of its own or in a tar file.

    Attributes:
        name: its path below the folder or in the tar file that was given; unique.
        path: of the file that holds it.
        start: the byte at which it starts there.
        n_bytes: its size; None for all of the file.
    """

    name: str
    path: Path | RemoteFile
    start: int = 0
    n_bytes: int | None = None

    @property
    def is_shared(self) -> bool:
        """Whether other processes see it."""
        return isinstance(self.path, Path) or self.path.storage.is_shared

    @property
    def title(self) -> str:
        """What errors call it."""
        return str(self.path) if self.n_bytes is None else f"{self.path}: {self.name}"


def find_clips(sources: Sequence[Source], *, tars: bool = False) -> list[Clip]:
    """Return all .ncx files of files and folders, in the order given, within a folder by name.

    sources  paths, or URLs of folders that fsspec reaches
    tars     also those in tar files of this machine

    Raises NcodecError for what is not there, UsageError for two files of one name.
    """
    found: list[Clip] = []
    several = len(sources) > 1
    for given in sources:
        storage = open_storage(given)
        if not isinstance(storage, LocalStorage):
            files = remote_files(cast("RemoteStorage", storage), SUFFIX)
            before = f"{storage.identity[1].name}/" if several else ""
            found += [Clip(before + file.path, file) for file in files]
            continue
        source = Path(storage.name)
        if source.is_dir():
            before = f"{source.resolve().name}/" if several else ""
            paths = sorted(
                (path for path in source.rglob("*") if _is_wanted(path, tars=tars)),
                key=lambda path: path.relative_to(source).as_posix(),
            )
            for path in paths:
                found += _clips_of(path, before + path.relative_to(source).as_posix())
        elif source.is_file():
            found += _clips_of(source, source.name)
        else:
            raise NcodecError(f"{source}: no such file or folder")
    names: dict[str, Clip] = {}
    for clip in found:
        if (other := names.setdefault(clip.name, clip)) is not clip:
            raise UsageError(f"{clip.title} and {other.title} would both be called {clip.name}")
    return found


def _is_wanted(path: Path, *, tars: bool) -> bool:
    is_kind = path.suffix.lower() == SUFFIX or (tars and path.suffix.lower() == ".tar")
    return is_kind and not path.name.startswith(".") and path.is_file()


def _clips_of(path: Path, name: str) -> Iterator[Clip]:
    if path.suffix.lower() != ".tar":
        yield Clip(name, path)
        return
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                if member.isreg() and not member.issparse() and member.name.endswith(SUFFIX):
                    inside = f"{name}/{member.name}"
                    yield Clip(inside, path, member.offset_data, member.size)
    except (tarfile.TarError, EOFError) as error:
        raise NcodecError(f"{path}: cannot be read as a tar file: {error}") from None


class Section:
    """Some bytes of a file, as a stream that can seek."""

    def __init__(self, file: BinaryIO, start: int, n_bytes: int) -> None:
        self._file, self._start, self._n_bytes, self._at = file, start, n_bytes, 0

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go to `offset`, return the new position."""
        self._at = max(0, offset + (0, self._at, self._n_bytes)[whence])
        return self._at

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes."""
        self._file.seek(self._start + self._at)
        chunk = self._file.read(max(0, min(size, self._n_bytes - self._at)))
        self._at += len(chunk)
        return chunk


@contextmanager
def open_clip(clip: Clip) -> Iterator[Reader]:
    """Give a reader of a clip. Raises FormatError, OSError."""
    with clip.path.open("rb") as file:
        stream = file if clip.n_bytes is None else Section(file, clip.start, clip.n_bytes)
        yield Reader(cast("BinaryIO", stream), clip.title)


@dataclass(frozen=True, slots=True)
class Kind:
    """What all files of a set share.

    Attributes:
        title: of a file that has it.
        header: of that file.
        n_q: codebooks of each stream that are used.
        is_all: whether files may have no more.
    """

    title: str
    header: Header
    n_q: int
    is_all: bool

    @classmethod
    def of(cls, clips: Sequence[Clip], n_q: int | None, *, lenient: bool = False) -> "Kind":
        """Return that of the first clip; `lenient`: of the first that can be read.

        Raises NcodecError without one, FormatError, OSError.
        """
        if n_q is not None and n_q < 1:
            raise UsageError(f"{n_q} codebooks: at least 1 is needed")
        failure: NcodecError | OSError | None = None
        for clip in clips:
            try:
                with open_clip(clip) as reader:
                    header = reader.header
                kind = cls(clip.title, header, n_q or header.n_codebooks, n_q is None)
                kind.check(header, clip.title)
            except (NcodecError, OSError) as error:
                failure = failure or error
                if not lenient:
                    break
            else:
                return kind
        raise failure or NcodecError(f"no {SUFFIX} file is there")

    @property
    def n_codebooks(self) -> int:
        """Of all streams."""
        return self.n_q * self.header.n_streams

    def check(self, header: Header, title: str) -> None:
        """Raise NcodecError for a file that does not go with the others."""
        for field, noun in _ALIKE.items():
            ours, theirs = getattr(self.header, field), getattr(header, field)
            if ours != theirs:
                ours, theirs = (one.hex() if isinstance(one, bytes) else one
                                for one in (ours, theirs))  # fmt: skip
                raise NcodecError(f"{title}: {noun} {theirs}, but {self.title} has {ours}")
        if header.n_codebooks < self.n_q or (self.is_all and header.n_codebooks != self.n_q):
            hint = "; a number of codebooks that all have can be kept" if self.is_all else ""
            raise NcodecError(
                f"{title}: {header.n_codebooks} codebooks, but {self.n_q} are wanted{hint}"
            )


def beside(clip: Clip, header: Header) -> tuple[str, str]:
    """Return the speaker and the text of a clip, "" for none.

    They are those of a file of the same name with the suffix .json, its entries speaker and text;
    of one with the suffix .txt, which is text; or tags: SPEAKER, and TRANSCRIPT or TEXT.

    Raises NcodecError for a file beside it that cannot be read.
    """
    tags = {key.upper(): value for key, value in reversed(header.tags)}
    speaker = next((tags[key] for key in _SPEAKER_TAGS if key in tags), "")
    text = next((tags[key] for key in _TEXT_TAGS if key in tags), "")
    for path in besides(clip):
        if path.suffix == ".txt" and path.is_file():
            text = _read_text(path).strip()
        elif path.suffix == ".json" and path.is_file():
            try:
                found = json.loads(_read_text(path))
            except (ValueError, RecursionError) as error:
                raise NcodecError(f"{path}: is not JSON: {error}") from None
            if not isinstance(found, dict):
                raise NcodecError(f"{path}: is not a JSON object")
            speaker = str(found.get("speaker", speaker))
            text = str(found.get("text", text))
    return speaker, text


def besides(clip: Clip) -> tuple[Path | RemoteFile, ...]:
    """Return the files that may tell more of a clip."""
    if clip.n_bytes is not None:
        return ()
    return clip.path.with_suffix(".txt"), clip.path.with_suffix(".json")


def _read_text(path: Path | RemoteFile) -> str:
    with path.open("rb") as file:
        content = file.read(_MOST_BESIDE_BYTES + 1)
    if len(content) > _MOST_BESIDE_BYTES:
        raise NcodecError(f"{path}: has more than {_MOST_BESIDE_BYTES} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NcodecError(f"{path}: is not UTF-8 at byte {error.start}") from None
