"""The reader in JavaScript and the one in Python say the same of every file, whole or not."""

import io
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from ncx_mutations import file_with_right_crcs, whole_file
from node_runs import Node

from ncodec.errors import FormatError
from ncodec.formats.ncx import Reader, read_index

TESTS = Path(__file__).parents[1]
GOLDEN = TESTS / "golden"
VALID = sorted((GOLDEN / "valid").glob("*.ncx"))
INVALID = sorted((GOLDEN / "invalid").glob("*.ncx"))
SAMPLES = sorted((TESTS.parent / "samples").glob("*.ncx"))
assert VALID
assert INVALID
assert SAMPLES
MEMORY_KIB = 400 << 10  # of the whole process
HANG_MS = 5000  # no file of a few KB takes as long


def contents(paths: list[Path]) -> list[tuple[str, bytes]]:
    return [(path.name, path.read_bytes()) for path in paths]


def by_python(name: str, content: bytes) -> dict[str, Any]:
    """What the library's reader says: packets, then the trailer or an error."""
    found: dict[str, Any] = {"packets": [], "trailer": None, "error": None}
    try:
        reader = Reader(io.BytesIO(content), name)
        for packet in reader:
            found["packets"].append((packet.number, packet.n_frames, packet.payload.hex()))
        found["trailer"] = reader.trailer and reader.trailer.codes_digest.hex()
    except FormatError as error:
        found["error"] = [type(error).__name__, str(error)]
    return found


def short(found: dict[str, Any]) -> dict[str, Any]:
    """The same of what the reader in JavaScript says."""
    keys = ("number", "n_frames", "payload")
    return {
        "packets": [tuple(packet[key] for key in keys) for packet in found["packets"]],
        "trailer": found["trailer"] and found["trailer"]["codes_digest"],
        "error": found["error"],
    }


def index_by_python(name: str, content: bytes) -> dict[str, Any]:
    try:
        trailer = read_index(io.BytesIO(content), name)
    except FormatError as error:
        return {"digest": None, "error": [type(error).__name__, str(error)]}
    return {"digest": trailer.codes_digest.hex(), "error": None}


def check(node: Node, files: list[tuple[str, bytes]], timeout_s: float = 300) -> Counter[str]:
    """Compare all files; return how often each kind of error came."""
    found, cost = node.read(files, timeout_s)
    kinds: Counter[str] = Counter()
    for (name, content), one in zip(files, found, strict=True):
        assert short(one) == by_python(name, content), content.hex()
        assert one["same"], f"{name}: piece by piece it reads otherwise: {content.hex()}"
        index = one["index"]
        digest = index["trailer"] and index["trailer"]["codes_digest"]
        wanted = index_by_python(name, content)
        assert {"digest": digest, "error": index["error"]} == wanted, content.hex()
        kinds[one["error"][0] if one["error"] else "none"] += 1
    assert cost["longest_ms"] < HANG_MS
    assert cost["memory_kib"] < MEMORY_KIB
    return kinds


@pytest.mark.quick
def test_valid_files_are_read_to_every_field(node: Node) -> None:
    found, _ = node.read(contents(VALID))
    for path, one in zip(VALID, found, strict=True):
        assert one["error"] is None, path.name
        wanted = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        header = one["header"]
        if not header["attachments"]:
            del header["attachments"]
        if len(header["tags"]) > 9:
            header["tags"] = [header["tags"][0], len(header["tags"]), header["tags"][-1]]
        assert {key: one[key] for key in ("header", "packets", "trailer")} == wanted, path.name
        assert one["index"]["trailer"] == wanted["trailer"], path.name


@pytest.mark.quick
def test_invalid_files_are_refused_in_the_same_words(node: Node) -> None:
    found, _ = node.read(contents(INVALID))
    wanted = json.loads((GOLDEN / "invalid" / "errors.json").read_text())
    assert {path.stem: one["error"] for path, one in zip(INVALID, found, strict=True)} == wanted


def test_all_are_read_alike(node: Node) -> None:
    kinds = check(node, contents([*VALID, *INVALID, *SAMPLES]))
    assert kinds["none"] == len(VALID) + len(SAMPLES)


def mutated(count: int, seed: int) -> list[tuple[str, bytes]]:
    rng = random.Random(seed)
    makers = (whole_file, file_with_right_crcs, file_with_right_crcs)
    return [(f"{number}.ncx", rng.choice(makers)(rng)) for number in range(count)]


def test_mutated_files_are_refused_in_the_same_words(node: Node) -> None:
    kinds = check(node, mutated(600, 1))
    assert len(kinds) > 6, kinds


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_a_hundred_thousand_mutated_files(node: Node, seed: int) -> None:
    check(node, mutated(5000, 100 + seed), timeout_s=1800)
