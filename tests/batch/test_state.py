"""What logs tell the next run."""

import json

import pytest

from ncodec.batch.state import History, Journal
from ncodec.batch.work_units import Item, Outcome


class Lines:
    """A log in memory."""

    def __init__(self) -> None:
        self.content = b""

    def append(self, lines: bytes, *, now: bool) -> None:
        self.content += lines

    def close(self) -> None: ...


ITEM = Item("a/\udcff.wav", "a/\udcff.ncx", 100, 5)
MADE = Outcome(ITEM.source, ITEM.target, "done", seconds=2.5, n_bytes_out=7, sha256="ab")


def log(*, begun: bool = True, made: bool = True) -> bytes:
    lines = Lines()
    with Journal(lines) as journal:
        if begun:
            journal.begin([ITEM])
        if made:
            journal.note(ITEM, MADE, "digest")
    return lines.content


def test_what_was_made_is_known() -> None:
    history = History([log()])
    record = history.record(ITEM.target)
    assert record is not None
    assert (record.source, record.size, record.mtime_ns) == (ITEM.source, 100, 5)
    assert (record.target_size, record.settings, record.seconds) == (7, "digest", 2.5)
    assert history.is_ours(ITEM.target)


def test_what_was_only_begun_is_ours() -> None:
    history = History([log(made=False)])
    assert history.record(ITEM.target) is None
    assert history.is_ours(ITEM.target)
    assert not history.is_ours("other.ncx")


def test_what_was_begun_again_is_not_known() -> None:
    event = json.loads(log(made=False))
    event["at"] += 60
    assert History([log(), json.dumps(event).encode()]).record(ITEM.target) is None
    assert History([json.dumps(event).encode(), log()]).record(ITEM.target) is None


@pytest.mark.parametrize("n_lost", range(1, 60, 7))
def test_a_torn_line_is_ignored(n_lost: int) -> None:
    whole = log()
    assert History([whole[:-n_lost]]).record(ITEM.target) is None or n_lost == 1
    assert History([whole[:-n_lost]]).is_ours(ITEM.target)


@pytest.mark.parametrize(
    "line",
    [b"\xff", b"[]", b"3", b"{}", b'{"at": "x"}', b'{"at": 1, "made": 3}', b"[" * 100_000,
     b'{"at": 1, "begun": 3}', b'{"at": 1, "made": {"target": "a"}}', b'{"at": 1, "made": []}',
     b'{"at": 1, "begun": [["a"]]}'],
)  # fmt: skip
def test_what_is_not_understood_is_ignored(line: bytes) -> None:
    assert History([line + b"\n" + log()]).record(ITEM.target) is not None


def test_fields_of_the_wrong_kind_are_ignored() -> None:
    event = json.loads(log(begun=False))
    event["made"]["size"] = "100"
    assert History([log(made=False), json.dumps(event).encode()]).record(ITEM.target) is None
