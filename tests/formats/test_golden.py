"""The bytes of the format, pinned: files that must be read and files that must be refused."""

import io
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
from ncx_files import read_strict, valid_files, write_file
from ncx_invalid import invalid_files

import ncodec.errors
from ncodec.errors import FormatError
from ncodec.formats.ncx import Header, Packet, Reader, Trailer

pytestmark = pytest.mark.quick

GOLDEN = Path(__file__).parents[1] / "golden"
VALID = valid_files()
INVALID = invalid_files()
# Raised by those who decode the payload, not by the container.
RAISED_ELSEWHERE = {ncodec.errors.PayloadError, ncodec.errors.DigestMismatch}


def description(content: bytes) -> str:
    def plain(value: object) -> object:
        return value.hex() if isinstance(value, bytes) else value

    def fields(record: Header | Packet | Trailer) -> dict[str, object]:
        values = {name: plain(value) for name, value in asdict(record).items()}
        if isinstance(record, Header):
            values["extensions"] = [(n, plain(blob)) for n, blob in record.extensions]
            values["attachments"] = [(n, plain(blob)) for n, blob in record.attachments]
            if not record.attachments:  # as most files were described before there were any
                del values["attachments"]
            if len(record.tags) > 9:
                values["tags"] = [record.tags[0], len(record.tags), record.tags[-1]]
        return values

    header, packets, trailer = read_strict(content)
    described = {
        "header": fields(header),
        "packets": [fields(packet) for packet in packets],
        "trailer": fields(trailer),
    }
    return json.dumps(described, indent=1, ensure_ascii=False) + "\n"


def refusal(content: bytes, name: str) -> FormatError:
    with pytest.raises(FormatError) as caught:
        list(Reader(io.BytesIO(content), name))
    return caught.value


def remove_stale(folder: Path, names: set[str]) -> None:
    for path in folder.glob("*.ncx"):
        if path.stem not in names:
            path.unlink()
            path.with_suffix(".json").unlink(missing_ok=True)


def test_golden_files_are_those_of_the_writer(
    check_golden: Callable[[Path, bytes], None], request: pytest.FixtureRequest
) -> None:
    if request.config.getoption("--regenerate-golden"):
        remove_stale(GOLDEN / "valid", set(VALID))
        remove_stale(GOLDEN / "invalid", set(INVALID))
    for name, content in VALID.items():
        check_golden(GOLDEN / "valid" / f"{name}.ncx", content)
        check_golden(GOLDEN / "valid" / f"{name}.json", description(content).encode())
    messages: dict[str, list[str]] = {}
    for name, (content, _, _) in INVALID.items():
        check_golden(GOLDEN / "invalid" / f"{name}.ncx", content)
        error = refusal(content, f"{name}.ncx")
        messages[name] = [type(error).__name__, str(error)]
    listed = json.dumps(messages, indent=1) + "\n"
    check_golden(GOLDEN / "invalid" / "errors.json", listed.encode())


@pytest.mark.parametrize(("folder", "cases"), [("valid", VALID), ("invalid", INVALID)])
def test_golden_folder_holds_every_case(folder: str, cases: dict[str, object]) -> None:
    names = {path.stem for path in (GOLDEN / folder).glob("*.ncx")}
    assert names
    assert names == set(cases)


@pytest.mark.parametrize("name", VALID)
def test_valid_file_is_read_and_written_back(name: str) -> None:
    content = (GOLDEN / "valid" / f"{name}.ncx").read_bytes()
    assert description(content) == (GOLDEN / "valid" / f"{name}.json").read_text(encoding="utf-8")
    header, packets, trailer = read_strict(content)
    again = write_file(header, tuple(packets), trailer.codes_digest, trailer.n_samples)
    if name != "minor_version":  # a newer writer's minor version is not kept
        assert again == content


@pytest.mark.parametrize("name", INVALID)
def test_invalid_file_is_refused(name: str) -> None:
    content = (GOLDEN / "invalid" / f"{name}.ncx").read_bytes()
    error = refusal(content, f"{name}.ncx")
    _, expected, fragment = INVALID[name]
    assert type(error) is expected
    assert fragment in str(error)
    assert str(error).startswith(f"{name}.ncx: ")
    assert " at byte " in str(error)


def test_every_kind_of_error_has_a_file() -> None:
    kinds: set[type[FormatError]] = set()
    unseen = [FormatError]
    while unseen:
        kind = unseen.pop()
        unseen += kind.__subclasses__()
        kinds.add(kind)
    covered = {expected for _, expected, _ in INVALID.values()}
    assert covered == kinds - RAISED_ELSEWHERE - {FormatError}
