"""The kernel finds the codes and the bytes of the reference, on every path that there is here."""

import functools
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_network import TINY, random_network, random_tensors

from ncodec import native
from ncodec.entropy.layout import EntropyConfig
from ncodec.entropy.network import Network
from ncodec.entropy.reference import ReferenceContext
from ncodec.errors import UsageError
from ncodec.hub.entropy_models import installed, load_network
from ncodec.native.kernel import MAX_ROWS, Context, Model

ROOM = Path(native.__file__).parent
PATHS = native.paths()
pytestmark = pytest.mark.skipif(not PATHS, reason="the kernel was not built")

ODD = EntropyConfig(  # no size is a multiple of what the kernel's vectors hold
    n_codebooks=3, codebook_size=37, width=45, n_layers=2, n_heads=5, window=7, hidden=29,
    head_hidden=11,
)  # fmt: skip


def kernel_of(network: Network) -> Model:
    assert network.kernel is not None
    return network.kernel


def check_same(network: Network, n_streams: int, n_q: int, n_packets: int, seed: int) -> None:
    """Packets side by side, of no frames to more than the window; and one that is continued."""
    rng = np.random.RandomState(seed % 2**32)
    longest = 2 * network.config.window + 3
    lengths = sorted(rng.randint(0, longest + 1, n_packets).tolist(), reverse=True)
    shapes = [(n, n_streams, n_q) for n in lengths]
    packets = [rng.randint(0, network.config.codebook_size, shape) for shape in shapes]
    kernel, most = kernel_of(network), MAX_ROWS // n_streams

    def to_encode() -> Context:
        return kernel.context(n_streams, n_q, n_frames_at_once=int(rng.randint(1, most + 1)))

    reference = functools.partial(ReferenceContext, network.torch, n_streams, n_q)
    payloads = [reference().encode(codes) for codes in packets]
    assert [to_encode().encode(codes) for codes in packets] == payloads
    context = kernel.context(n_streams, n_q, n_packets=n_packets)
    for found, failed in (
        each.decode(payloads, lengths) for each in (context, reference(n_packets))
    ):
        assert failed == [-1] * n_packets
        assert all(map(np.array_equal, found, packets))

    both = [reference(), to_encode()]
    context = kernel.context(n_streams, n_q)
    for part in np.array_split(packets[0], 3):  # the second and third are dependent packets
        payload, same = (each.encode(part) for each in both)
        assert payload == same
        found, failed = context.decode([payload], [len(part)])
        assert failed == [-1]
        assert np.array_equal(found[0], part)


@pytest.mark.quick
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("config", [TINY, ODD], ids=["tiny", "odd"])
def test_random_networks(path: str, config: EntropyConfig) -> None:
    @settings(deadline=None, max_examples=25)
    @given(
        seed=st.integers(0, 2**32 - 1), wild=st.booleans(), n_packets=st.integers(1, 6),
        n_streams=st.integers(1, 3), n_q=st.integers(1, 3),
    )  # fmt: skip
    def check(seed: int, wild: bool, n_packets: int, n_streams: int, n_q: int) -> None:
        network = random_network(config, seed, wild=wild, path=path)
        check_same(network, n_streams, n_q, n_packets, seed)

    check()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("value", [-127, 127])
@pytest.mark.parametrize("shift", [0, 20])
def test_extreme_weights(path: str, value: int, shift: int) -> None:
    """All weights at one end: sums, streams and scores run into their limits."""
    config = replace(TINY, window=3)
    arrays = random_tensors(config, 2, wild=True)
    for name, array in arrays.items():
        if name.endswith(".shift"):
            array[:] = min(shift, 8) if name == "vectors.shift" else shift
        elif array.dtype == np.int8:
            array[:] = value
    check_same(Network(config, arrays, Model(config, arrays, path)), 2, 4, 2, 0)


@pytest.mark.parametrize("path", PATHS)
def test_trained_networks(path: str) -> None:
    models = installed()
    assert models
    network = load_network(models[0])
    kernel = Model(network.config, network.arrays, path)
    check_same(replace(network, kernel=kernel), 2, models[0].n_codebooks, 2, 1)


@pytest.mark.parametrize("path", PATHS)
@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    payloads=st.lists(st.binary(max_size=60), min_size=1, max_size=4),
)
def test_payloads_that_no_encoder_wrote(path: str, seed: int, payloads: list[bytes]) -> None:
    network = random_network(TINY, seed, path=path)
    lengths = [12] * len(payloads)
    reference = ReferenceContext(network.torch, 2, 4, len(payloads)).decode(payloads, lengths)
    found = kernel_of(network).context(2, 4, n_packets=len(payloads)).decode(payloads, lengths)
    assert found[1] == reference[1]
    for here, there, failed in zip(reference[0], found[0], found[1], strict=True):
        known = failed if failed >= 0 else here.size
        assert np.array_equal(here.reshape(-1)[:known], there.reshape(-1)[:known])


@pytest.mark.parametrize("path", PATHS)
def test_rows_of_the_search(path: str) -> None:
    """What the search asks for: h of each frame, and logits."""
    network = random_network(ODD, 3, path=path)
    by_torch = network.torch
    codes = np.random.RandomState(0).randint(0, ODD.codebook_size, (100, 1, 3))
    context = kernel_of(network).context(1, 3, n_frames_at_once=17)
    with torch.inference_mode():
        known, vectors = ReferenceContext(by_torch, 1, 3)._known(codes)
        assert np.array_equal(context.hidden(codes)[:, 0], known[0].numpy())
        rows = (known + vectors[0])[0]
        assert np.array_equal(context.logits(rows.numpy(), 1), by_torch.logits(rows, 1).numpy())


def test_a_wrong_call_is_refused() -> None:
    network = random_network(TINY, 1, path="plain")
    kernel = kernel_of(network)
    context = kernel.context(1, 4, n_packets=2)
    with pytest.raises(ValueError, match="falling length"):
        context.decode([b"", b""], [1, 2])
    with pytest.raises(ValueError, match="other numbers of packets"):
        context.decode([b""] * 3, [1] * 3)
    with pytest.raises(ValueError, match="context of one packet"):
        context.encode(np.zeros((1, 1, 4), np.int32))
    with pytest.raises(ValueError, match="out of range"):
        kernel.context(1, 4).encode(np.full((1, 1, 4), TINY.codebook_size, np.int32))
    with pytest.raises(ValueError, match="a count is out of range"):
        kernel.context(1, 5)
    with pytest.raises(ValueError, match=r"float32 \[n, D\]"):
        context.logits(np.zeros((1, 3), np.float32), 0)


def test_the_path_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert native.chosen_path() == (os.environ.get("NCODEC_KERNEL") or PATHS[0])
    monkeypatch.setenv("NCODEC_KERNEL", "plain")
    assert native.chosen_path() == "plain"
    monkeypatch.setenv("NCODEC_KERNEL", "none")
    assert native.chosen_path() is None
    monkeypatch.setenv("NCODEC_KERNEL", "mmx")
    with pytest.raises(UsageError, match="'mmx'; expected one of .*plain or none"):
        native.chosen_path()


@pytest.mark.parametrize(
    ("seed", "rounds", "hashes"),
    [
        (1, 40, ("0c488f66d249cff4", "ba4275c84aa6a5c6", "9fd84ac089d8ada0", "c3efada37534dfcd")),
        pytest.param(
            2,
            2000,
            ("b9ac5802b2566a47", "ade73914d8e1d4be", "ba5db95738f565db", "a84a7bb09798f2df"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_nothing_outside_is_touched(
    tmp_path: Path, seed: int, rounds: int, hashes: tuple[str, ...]
) -> None:
    """fuzz.c under the address and undefined-behaviour sanitizers, and its hashes of codes."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler")
    sources = [str(path) for path in ROOM.glob("*.c") if not path.name.startswith("module")]
    fuzz, program = Path(__file__).with_name("fuzz.c"), tmp_path / "fuzz"
    flags = ["-std=c11", "-O1", "-g", "-ffp-contract=off", f"-I{ROOM}"]
    flags += ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    built = subprocess.run(
        [compiler, *flags, str(fuzz), *sources, "-o", str(program), "-lm"],
        capture_output=True,
        text=True,
    )
    if built.returncode and "sanitize" in built.stderr:
        pytest.skip("a compiler without sanitizers")
    assert built.returncode == 0, built.stderr
    ran = subprocess.run([program, str(seed), str(rounds)], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    if PATHS == ["plain"]:
        hashes = (*hashes[:2], "0" * 16, hashes[3])
    assert ran.stdout == f"{rounds} rounds, {', '.join(hashes)}\n"
