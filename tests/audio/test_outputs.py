import os
import stat
import threading
from pathlib import Path

import numpy as np
import pytest
from audio_files import RATE_HZ, noise, posix_only

from ncodec.audio import AudioSink, read, write
from ncodec.errors import OutputExists


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_unfinished_output_is_removed(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"old")
    with pytest.raises(error), AudioSink(path, RATE_HZ, 1, overwrite=True) as sink:  # noqa: PT012
        sink.write(noise(1, 100))
        raise error
    assert [file.name for file in tmp_path.iterdir()] == ["a.wav"]
    assert path.read_bytes() == b"old"


def test_an_output_that_exists_is_kept_unless_asked(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    write(path, noise(1, 10), RATE_HZ)
    with pytest.raises(OutputExists, match=r"a\.wav: exists already"):
        write(path, noise(1, 20), RATE_HZ)
    assert read(path)[0].shape == (1, 10)
    write(path, noise(1, 20), RATE_HZ, overwrite=True)
    assert read(path)[0].shape == (1, 20)


@posix_only
@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_special_files_are_written_as_they_are(tmp_path: Path, suffix: str) -> None:
    write("/dev/null", noise(1, 100), RATE_HZ, container=suffix)
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    fifo = tmp_path / f"pipe.{suffix}"
    os.mkfifo(fifo)
    writer = threading.Thread(target=write, args=(fifo, noise(2, 50_000), RATE_HZ))
    writer.start()
    wav, _ = read(fifo)
    writer.join()
    np.testing.assert_allclose(wav, noise(2, 50_000), atol=1 / 65536)
    assert stat.S_ISFIFO(fifo.stat().st_mode)


def test_a_closed_sink_can_be_closed_again(tmp_path: Path) -> None:
    sink = AudioSink(tmp_path / "a.wav", RATE_HZ, 1)
    sink.write(noise(1, 10))
    sink.close()
    sink.close()
    assert read(tmp_path / "a.wav")[0].shape == (1, 10)


@posix_only
def test_a_name_that_is_not_utf_8(tmp_path: Path) -> None:
    for suffix in ("wav", "flac"):
        path = os.fsdecode(os.fsencode(tmp_path) + b"/na\xefve." + suffix.encode())
        write(path, noise(1, 10), RATE_HZ)
        assert read(path)[0].shape == (1, 10)
