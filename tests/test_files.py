import os
import stat
from pathlib import Path

import pytest

from ncodec import files
from ncodec.errors import NcodecError, OutputExists

posix_only = pytest.mark.skipif(os.name != "posix", reason="needs links and file modes")


@pytest.mark.parametrize("has_links", [True, False])
def test_an_output_that_appears_meanwhile_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool
) -> None:
    if not has_links:
        monkeypatch.setattr(Path, "hardlink_to", lambda *_: (_ for _ in ()).throw(OSError(1, "no")))
    with files.atomic_output(tmp_path / "first") as partial:
        partial.write_bytes(b"1")
    assert (tmp_path / "first").read_bytes() == b"1"
    path = tmp_path / "a"
    with pytest.raises(OutputExists), files.atomic_output(path) as partial:  # noqa: PT012
        partial.write_bytes(b"mine")
        path.write_bytes(b"theirs")
    assert path.read_bytes() == b"theirs"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a", "first"]


def test_the_partial_file_is_hidden_beside_and_keeps_the_suffix(tmp_path: Path) -> None:
    with files.atomic_output(tmp_path / "a.flac") as partial:
        assert partial.parent == tmp_path
        assert partial.name.startswith(files.PARTIAL_PREFIX)
        assert partial.suffix == ".flac"
        assert not (tmp_path / "a.flac").exists()


@posix_only
def test_permissions_follow_the_umask_or_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    old_mask = os.umask(0o027)
    try:
        with files.atomic_output(path) as partial:
            partial.write_bytes(b"")
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        path.chmod(0o604)
        with files.atomic_output(path, overwrite=True) as partial:
            partial.write_bytes(b"")
        assert stat.S_IMODE(path.stat().st_mode) == 0o604
    finally:
        os.umask(old_mask)


@posix_only
def test_a_link_is_followed(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to(target)
    with files.atomic_output(link, overwrite=True) as partial:
        partial.write_bytes(b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


def test_an_error_of_the_block_keeps_its_kind(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), files.atomic_output(tmp_path / "a"):
        (tmp_path / "other").read_bytes()
    with (
        pytest.raises(NcodecError, match="a: cannot be written: full"),
        files.atomic_output(tmp_path / "a"),
    ):
        raise OSError(28, "full")
