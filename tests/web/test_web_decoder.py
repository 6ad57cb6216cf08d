"""Codes and audio of the decoder in JavaScript are those of the library."""

import hashlib
import io
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ncx_mutations import take_apart
from node_runs import Node
from tiny_models import in_packets, live
from web_files import CODERS, SHIPPED_MODELS, edited_files, live_file, sound, tiny_file

import ncodec
from ncodec.bitstream.codes import digest_bytes, iterate_codes
from ncodec.decoding.decoder import Decoding
from ncodec.decoding.options import DecodeOptions
from ncodec.errors import NcodecError
from ncodec.formats.ncx import CHANNEL_COPIES, Reader

TESTS = Path(__file__).parents[1]
GOLDEN = TESTS / "golden"
SAMPLES = sorted((TESTS.parent / "samples").glob("*.ncx"))
TOLERANCE = 1e-4
HANG_MS = 20_000
MEMORY_BYTES = 256 << 20  # of the kernel
"""What no file of a few KB takes."""

Files = Sequence[tuple[str, bytes]]


def contents(paths: Sequence[Path]) -> list[tuple[str, bytes]]:
    assert paths
    return [(path.name, path.read_bytes()) for path in paths]


def refused(error: NcodecError) -> list[str]:
    return [type(error).__name__, str(error)]


def audio_by_python(name: str, content: bytes) -> dict[str, Any]:
    """Audio at the codec's rate, as far as it comes, and the error after it."""
    blocks, error = [], None
    try:
        decoding = Decoding(Reader(io.BytesIO(content), name), DecodeOptions(codec_rate=True))
        blocks.append(np.zeros((decoding.n_channels, 0), np.float32))
        blocks += decoding.blocks()
    except NcodecError as fault:
        error = refused(fault)
    return {"audio": np.concatenate(blocks, 1) if blocks else None, "error": error}


def codes_by_python(name: str, content: bytes) -> dict[str, Any]:
    digest, error, n_codes = hashlib.sha256(), None, 0
    try:
        for codes in iterate_codes(Reader(io.BytesIO(content), name)):
            digest.update(digest_bytes(codes))
            n_codes += codes.size
    except NcodecError as fault:
        error = refused(fault)
    return {"codes": digest.hexdigest(), "n_codes": n_codes, "codes_error": error}


def kind(error: list[str] | None) -> str | None:
    """The error's class: of a model that is not there, the words name files."""
    return error and error[0]


def compare(node: Node, files: Files, models: Sequence[Path]) -> Counter[str | None]:
    """Compare all files; return how often each kind of error came."""
    found, cost = node.decode(files, models)
    kinds: Counter[str | None] = Counter()
    for (name, content), one in zip(files, found, strict=True):
        wanted = codes_by_python(name, content)
        assert {key: one[key] for key in wanted} | {"codes_error": kind(one["codes_error"])} == (
            wanted | {"codes_error": kind(wanted["codes_error"])}
        ), (name, one["codes_error"], wanted["codes_error"])
        wanted = audio_by_python(name, content)
        assert kind(one["error"]) == kind(wanted["error"]), (name, one["error"], wanted["error"])
        if wanted["audio"] is not None and wanted["error"] is None:
            audio = np.frombuffer(one["audio"], "<f4").reshape(wanted["audio"].shape)
            # A damaged scale, 32 bits of floating point, may be any: then of the loudest sample.
            peak = np.abs(wanted["audio"]).max(initial=1)
            assert np.abs(audio - wanted["audio"]).max(initial=0) < TOLERANCE * peak, name
            assert one["n_samples"] in (None, audio.shape[1])
        kinds[kind(one["error"])] += 1
    assert cost["longest_ms"] < HANG_MS
    assert cost["kernel_bytes"] < MEMORY_BYTES
    return kinds


def test_equal_channels_decode_alike(node: Node) -> None:
    """Of a file, of one in short packets whose length comes last, and what means nothing."""
    wav = np.repeat(sound(1, 24000, 0.7), 2, axis=0)
    made = ncodec.encode(wav, 24000, entropy="adaptive")
    files = [("two.ncx", made), ("live.ncx", live(made))]
    for name, content in (("64", b"\x40"), ("1", b"\1"), ("65", b"\x41"), ("more", b"\2\2")):
        odd = in_packets(made, lambda frame: 40, extensions=((CHANNEL_COPIES, content),))
        files.append((f"{name}.ncx", odd))
    assert compare(node, files, SHIPPED_MODELS) == {None: len(files)}
    found, _ = node.decode(files, SHIPPED_MODELS)
    assert [one["n_channels"] for one in found] == [2, 2, 64, 1, 1, 1]


def test_samples_decode_alike(node: Node) -> None:
    assert compare(node, contents(SAMPLES), SHIPPED_MODELS) == {None: len(SAMPLES)}


@pytest.mark.parametrize("entropy", CODERS)
def test_files_of_the_shipped_model_decode_alike(node: Node, entropy: str) -> None:
    """Four bit rates and sample rates, one channel and two."""
    shapes = [(1.5, 8000, 1), (3, 48000, 2), (6, 44100, 1), (12, 24000, 2)]
    files = [
        (
            f"{kbps}.ncx",
            ncodec.encode(
                sound(n_channels, rate_hz, 1.7), rate_hz, bandwidth_kbps=kbps, entropy=entropy
            ),
        )
        for kbps, rate_hz, n_channels in shapes
    ]
    assert compare(node, files, SHIPPED_MODELS) == {None: len(shapes)}


@pytest.mark.parametrize("folder", ["valid", "invalid", "codes"])
def test_golden_files_end_alike(node: Node, folder: str) -> None:
    """Payloads that are made up, models that are not there, and all that the container refuses."""
    kinds = compare(node, contents(sorted((GOLDEN / folder).glob("*.ncx"))), SHIPPED_MODELS)
    assert set(kinds) - {None}


def test_live_and_edited_files_decode_alike(node: Node, tiny: list[Path], tmp_path: Path) -> None:
    live = [(f"{entropy}.ncx", live_file(entropy, 2)) for entropy in CODERS]
    files = [*live, *edited_files(tmp_path), ("empty.ncx", tiny_file("packed", 1, 0))]
    assert compare(node, files, tiny) == {None: len(files)}


def mutated(originals: Sequence[bytes], count: int, seed: int) -> list[tuple[str, bytes]]:
    """Files with other payloads, scales, numbers of frames and the like under CRCs that match."""
    rng = random.Random(seed)
    taken = [take_apart(content) for content in originals]
    files = []
    for number in range(count):
        pieces = rng.choice(taken).copy()
        for _ in range(rng.choice((1, 1, 2))):
            index = rng.randrange(len(pieces.pieces))
            piece = bytearray(pieces.pieces[index])
            at = rng.randrange(len(piece))
            match rng.randrange(4):
                case 0:
                    piece[at] ^= 1 << rng.randrange(8)
                case 1:
                    piece[at] = rng.randrange(256)
                case 2:
                    del piece[at : at + rng.randrange(1, 4)]
                case _:
                    piece[at:at] = rng.randbytes(rng.randrange(1, 4))
            pieces.put(index, bytes(piece))
        files.append((f"{number}.ncx", pieces.file()))
    return files


def originals(folder: Path) -> list[bytes]:
    return [
        *(tiny_file(entropy, n) for entropy in CODERS for n in (1, 2)),
        *(live_file(entropy, 1) for entropy in CODERS),
        *(content for _, content in edited_files(folder)),
    ]


def test_mutated_files_end_alike(node: Node, tiny: list[Path], tmp_path: Path) -> None:
    kinds = compare(node, mutated(originals(tmp_path), 300, 2), tiny)
    assert len(kinds) > 4, kinds


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_many_mutated_files_end_alike(
    node: Node, tiny: list[Path], tmp_path: Path, seed: int
) -> None:
    compare(node, mutated(originals(tmp_path), 2000, 100 + seed), tiny)
