"""Windows of codes as data sets of torch: each exactly once, and only what is needed is read."""

import tarfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from clips import make_clip, make_clips
from torch import nn
from torch.utils.data import DataLoader, DistributedSampler

import ncodec
from ncodec.batch.data import CodesStream, CodesWindows, ExportOptions, export, restore
from ncodec.batch.data.sources import Section
from ncodec.errors import NcodecError, UsageError

N = 8


@pytest.fixture(scope="module")
def coded(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NCODEC_CACHE", str(cache))
        return make_clips(tmp_path_factory.mktemp("coded"), 40)


@pytest.fixture
def tars(coded: Path) -> Path:
    """The same files in two tar files, and others beside them."""
    folder = Path("tars")
    folder.mkdir()
    paths = sorted(coded.rglob("*.*"))
    for number in range(2):
        with tarfile.open(folder / f"{number}.tar", "w") as archive:
            for path in paths[number::2]:
                archive.add(path, path.relative_to(coded).as_posix())
    return folder


def wanted(coded: Path, hop: int = N) -> Counter[bytes]:
    """All windows, by their bytes."""
    found: Counter[bytes] = Counter()
    for path in coded.rglob("*.ncx"):
        codes = ncodec.read_codes(path)[0]
        for start in range(0, codes.shape[1] - N + 1, hop):
            found[codes[:, start : start + N].tobytes()] += 1
    return found


def counted(windows: Iterable[torch.Tensor | np.ndarray]) -> Counter[bytes]:
    return Counter(np.asarray(window).tobytes() for window in windows)


def unbatched(loader: DataLoader) -> list[torch.Tensor]:
    return [window for batch in loader for window in batch]


@pytest.mark.quick
@pytest.mark.parametrize("hop", [3, N, 13])
def test_all_windows_are_there(coded: Path, tars: Path, hop: int) -> None:
    for source in (coded, tars):
        windows = CodesWindows([source], N, hop=hop)
        assert windows[0].shape == (3, N)
        assert windows[0].dtype == torch.int64
        expected = wanted(coded, hop)
        assert len(windows) == expected.total()
        assert counted(windows[at] for at in range(len(windows))) == expected
        assert counted(CodesStream([source], N, hop=hop)) == expected
        assert counted(CodesStream([source], N, hop=hop, seed=1, buffer=7)) == expected


def test_clips_by_the_transformer_are_decoded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    from ncodec.batch.data import reading

    groups: list[int] = []
    together = reading.decode_together
    monkeypatch.setattr(
        reading, "decode_together", lambda files: groups.append(len(files)) or together(files)
    )
    for number in range(5):
        make_clip(Path(f"in/{number}.ncx"), number, 20, model="modelled", entropy="transformer")
    make_clip(Path("in/other.ncx"), 9, 20, model="modelled")
    with tarfile.open("in.tar", "w") as archive:
        archive.add("in")
    for source in ("in", "in.tar"):
        assert counted(CodesStream([source], N, n_q=2)) == counted(
            ncodec.read_codes(path, n_q=2)[0, :, start : start + N]
            for path in Path("in").iterdir()
            for start in (0, 8)
        )
    assert groups == [5, 5]
    options = ExportOptions("npz", n_q=2)
    export(["in"], "out", options, n_workers=0)
    assert groups == [5, 5, 5]
    assert restore("out", "back", n_workers=0) == 6
    for path in Path("in").iterdir():
        wanted, again = ncodec.read_codes(path, n_q=2), ncodec.read_codes(Path("back") / path.name)
        assert np.array_equal(again, wanted)
    spoilt = Path("in/3.ncx").read_bytes()
    Path("in/3.ncx").write_bytes(spoilt[:-30] + b"12345" + spoilt[-25:])
    with pytest.raises(NcodecError, match="in/3.ncx: "):
        list(CodesStream(["in"], N))


def test_a_window_knows_its_place(coded: Path) -> None:
    windows = CodesWindows([coded], N)
    for index in (0, 5, len(windows) - 1):
        name, start = windows.place(index)
        codes = ncodec.read_codes(coded / name)[0]
        assert np.array_equal(windows[index], codes[:, start : start + N])
    assert torch.equal(windows[-1], windows[len(windows) - 1])
    with pytest.raises(IndexError):
        windows[len(windows)]


def test_the_last_window_can_be_filled(coded: Path) -> None:
    windows = CodesWindows([coded], N, pad=-100)
    n_frames = [ncodec.read_codes(path).shape[2] for path in coded.rglob("*.ncx")]
    assert len(windows) == sum(-(-n // N) for n in n_frames)
    found = [windows[at] for at in range(len(windows))]
    assert sum(int((one[0] != -100).sum()) for one in found) == sum(n_frames)
    assert counted(found) == counted(CodesStream([coded], N, pad=-100))


def test_fewer_codebooks_and_other_layouts(coded: Path) -> None:
    plain = CodesWindows([coded], N, n_q=2)
    assert torch.equal(plain[3], CodesWindows([coded], N)[3][:2])
    flat = CodesWindows([coded], N, n_q=2, layout="flat", offset=True)
    assert flat[3].tolist() == (plain[3] + torch.tensor([[0], [16]])).T.flatten().tolist()
    delayed = CodesWindows([coded], N, layout="delay")
    assert delayed[0].shape == (3, N + 2)
    assert delayed.layout.pad == 16


@pytest.mark.quick
@pytest.mark.parametrize("n_workers", [0, 2])
def test_ranks_and_workers_share_all_windows(coded: Path, n_workers: int) -> None:
    for seed in (None, 3):
        found: Counter[bytes] = Counter()
        for rank in range(3):
            stream = CodesStream([coded], N, seed=seed, buffer=20, rank=rank, world_size=3)
            windows = unbatched(DataLoader(stream, 4, num_workers=n_workers))
            assert windows
            found += counted(windows)
        assert found == wanted(coded)


def test_samplers_share_the_windows_by_number(coded: Path) -> None:
    windows = CodesWindows([coded], N)
    found: Counter[bytes] = Counter()
    n_ranks = 2 if len(windows) % 2 == 0 else 1
    for rank in range(n_ranks):
        sampler = DistributedSampler(windows, n_ranks, rank, seed=1)
        found += counted(unbatched(DataLoader(windows, 5, sampler=sampler, num_workers=2)))
    assert found == wanted(coded)


def test_the_seed_and_the_epoch_decide_the_order(coded: Path) -> None:
    def order(seed: int, epoch: int = 0) -> list[bytes]:
        stream = CodesStream([coded], N, seed=seed, buffer=30)
        stream.set_epoch(epoch)
        return [window.numpy().tobytes() for window in stream]

    assert order(1) == order(1)
    assert order(1, 4) == order(1, 4)
    assert order(1) != order(2)
    assert order(1) != order(1, 1)
    plain = [window.numpy().tobytes() for window in CodesStream([coded], N)]
    assert order(1) != plain


def test_only_the_packets_of_a_window_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    make_clip(Path("song.ncx"), 1, 500_000, n_q=4)
    with tarfile.open("songs.tar", "w") as archive:
        archive.add("song.ncx")
    n_read: list[int] = []
    read = Section.read

    def counting(self: Section, size: int, /) -> bytes:
        chunk = read(self, size)
        n_read.append(len(chunk))
        return chunk

    windows = CodesWindows(["songs.tar"], 50)
    monkeypatch.setattr(Section, "read", counting)
    assert len(windows) == 10_000
    codes = ncodec.read_codes("song.ncx")[0]
    assert np.array_equal(windows[6000], codes[:, 300_000:300_050])
    assert sum(n_read) < Path("song.ncx").stat().st_size / 4


def test_odd_files_are_named(coded: Path) -> None:
    for kind in (CodesWindows, CodesStream):
        with pytest.raises(NcodecError, match="nowhere: no such file"):
            kind(["nowhere"], N)
        with pytest.raises(UsageError, match="windows of 0 frames"):
            kind([coded], 0)
        with pytest.raises(UsageError, match="must be a list"):
            kind(str(coded), N)
    Path("in").mkdir()
    Path("in/a.tar").write_bytes(b"no tar file, and long enough to be looked at" * 40)
    with pytest.raises(NcodecError, match="in/a.tar"):
        CodesWindows(["in"], N)
    Path("in/a.tar").unlink()
    make_clip(Path("in/a.ncx"), 1, 20)
    make_clip(Path("in/b.ncx"), 1, 20, n_q=2)
    with pytest.raises(NcodecError, match="in/b.ncx: 2 codebooks"):
        CodesWindows(["in"], N)
    with pytest.raises(NcodecError, match="in/b.ncx: 2 codebooks"):
        list(CodesStream(["in"], N))
    assert len(CodesWindows(["in"], N, n_q=2)) == 4


class ToyModel(nn.Module):
    """A transformer of two layers over flat tokens."""

    def __init__(self, n_tokens: int) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(32, 2, 64, dropout=0.0, batch_first=True)
        self.embed, self.layers = nn.Embedding(n_tokens, 32), nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(32, n_tokens)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1])
        return self.head(self.layers(self.embed(tokens), mask, is_causal=True))


def test_a_language_model_learns_from_a_stream() -> None:
    for number in range(8):  # a scale that goes up and down, in codes
        frames = (np.arange(64) + number) % 16
        codes = np.stack([frames, 15 - frames])[None]
        ncodec.write_codes(f"{number}.ncx", codes, model="tiny")
    torch.manual_seed(0)
    stream = CodesStream(["."], 16, layout="flat", offset=True, seed=0)
    model = ToyModel(stream.layout.n_tokens)
    adam, losses = torch.optim.Adam(model.parameters(), 1e-2), []
    for epoch in range(8):
        stream.set_epoch(epoch)
        for tokens in DataLoader(stream, 8):
            scores = model(tokens[:, :-1])
            loss = nn.functional.cross_entropy(scores.flatten(0, 1), tokens[:, 1:].flatten())
            adam.zero_grad()
            loss.backward()
            adam.step()
            losses.append(loss.item())
    assert np.mean(losses[-4:]) < 0.3 * losses[0]
