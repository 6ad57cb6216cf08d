import errno
import os
import stat
import sys
from pathlib import Path

import pytest

from ncodec.errors import NcodecError, OutputExists, UsageError
from ncodec.formats import atomic_files

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full and /proc")
posix_only = pytest.mark.skipif(os.name != "posix", reason="needs links and file modes")


def without_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the file system refuse hard links, as FAT does."""

    def refuse(*_: Path) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(Path, "hardlink_to", refuse)


@pytest.mark.parametrize("has_links", [True, False])
def test_an_output_that_appears_meanwhile_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool
) -> None:
    if not has_links:
        without_links(monkeypatch)
    with atomic_files.atomic_output(tmp_path / "first") as partial:
        partial.write_bytes(b"1")
    assert (tmp_path / "first").read_bytes() == b"1"
    path = tmp_path / "a"
    with pytest.raises(OutputExists), atomic_files.atomic_output(path) as partial:  # noqa: PT012
        partial.write_bytes(b"mine")
        path.write_bytes(b"theirs")
    assert path.read_bytes() == b"theirs"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a", "first"]


def test_without_links_the_name_is_taken_by_the_whole_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_links(monkeypatch)
    rename = Path.rename
    was_there: list[bool] = []

    def look_and_rename(partial: Path, final: Path) -> Path:
        was_there.append(final.exists())
        return rename(partial, final)

    monkeypatch.setattr(Path, "rename", look_and_rename)
    with atomic_files.atomic_output(tmp_path / "a") as partial:
        partial.write_bytes(b"1")
    assert was_there == [False]
    assert (tmp_path / "a").read_bytes() == b"1"


@posix_only
def test_without_links_a_dangling_link_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_links(monkeypatch)
    path = tmp_path / "a"
    with pytest.raises(OutputExists), atomic_files.atomic_output(path):
        path.symlink_to("nowhere")
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


def test_the_partial_file_is_hidden_beside_and_keeps_the_suffix(tmp_path: Path) -> None:
    with atomic_files.atomic_output(tmp_path / "a.flac") as partial:
        assert partial.parent == tmp_path
        assert partial.name.startswith(atomic_files.PARTIAL_PREFIX)
        assert partial.suffix == ".flac"
        assert not (tmp_path / "a.flac").exists()


@pytest.mark.quick
@posix_only
def test_permissions_follow_the_umask_or_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    old_mask = os.umask(0o027)
    try:
        with atomic_files.atomic_output(path) as partial:
            partial.write_bytes(b"")
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        path.chmod(0o604)
        with atomic_files.atomic_output(path, overwrite=True) as partial:
            partial.write_bytes(b"")
        assert stat.S_IMODE(path.stat().st_mode) == 0o604
    finally:
        os.umask(old_mask)


@pytest.mark.quick
@posix_only
def test_a_link_is_followed(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to(target)
    with atomic_files.atomic_output(link, overwrite=True) as partial:
        partial.write_bytes(b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


def test_an_error_of_the_block_keeps_its_kind(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_files.atomic_output(tmp_path / "a"):
        (tmp_path / "other").read_bytes()
    with (
        pytest.raises(NcodecError, match="a: cannot be written: full"),
        atomic_files.atomic_output(tmp_path / "a"),
    ):
        raise OSError(28, "full")


@linux_only
def test_a_device_is_named_too() -> None:
    with (
        pytest.raises(NcodecError, match="/dev/full: cannot be written: No space left"),
        atomic_files.atomic_output("/dev/full") as path,
    ):
        path.write_bytes(b"1")


@linux_only
def test_a_folder_that_makes_no_files() -> None:
    with (
        pytest.raises(NcodecError, match="/proc/a: cannot be written"),
        atomic_files.atomic_output("/proc/a"),
    ):
        pass
    with (
        pytest.raises(UsageError, match="/proc/b: no such directory"),
        atomic_files.atomic_output("/proc/b/a"),
    ):
        pass
