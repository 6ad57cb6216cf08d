"""`ncodec inspect`, and the library behind it."""

import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ran import Run

from ncodec.bitstream.inspect import inspect
from ncodec.entropy import open_coder
from ncodec.formats.ncx import CodesDigest, Header, Writer, annotate

MakeNcx = Callable[..., Path]


def spread_codes(n_frames: int) -> np.ndarray:
    """Return [1, 2, F]: codebook 0 uses 4 codes equally, codebook 1 only one."""
    codes = np.zeros((1, 2, n_frames), np.int64)
    codes[0, 0] = np.arange(n_frames) % 4
    codes[0, 1] = 9
    return codes


def ncx_of(
    n_packets: int = 4, *, dependent: bool = False, n_samples: int | None = 4000
) -> tuple[bytes, Header]:
    """Return a file of packets of 10 frames, half a second each."""
    header = Header(
        architecture=1, model_id="other", model_fingerprint=b"abcd", sample_rate_hz=8000,
        n_channels=1, codebook_size=16, n_codebooks=2, samples_per_frame=400, entropy=1,
        bitrate_bps=160, n_samples=n_samples, tags=(("TITLE", "Hum\x1b[2J"),),
        extensions=((0x40, b"xyz"),),
    )  # fmt: skip
    stream = io.BytesIO()
    writer, digest = Writer(stream, header), CodesDigest()
    coder = open_coder("adaptive", n_streams=1, n_codebooks=2, codebook_size=16)
    for number in range(n_packets):
        codes = spread_codes(10)
        digest.update(codes.transpose(0, 2, 1).astype("<u2").tobytes())
        follows = dependent and number > 0
        writer.write_packet(10, coder.encode(codes, dependent=follows), dependent=follows)
    writer.finish(digest.digest(), None if n_samples is not None else 4000)
    return stream.getvalue(), header


def inspected(content: bytes) -> Any:
    return inspect(io.BytesIO(content), "song.ncx")


def broken_packet(content: bytes, number: int) -> bytes:
    """Flip a bit in the payload of a packet."""
    at = inspected(content).packets[number].offset + 6
    return content[:at] + bytes((content[at] ^ 4,)) + content[at + 1 :]


def test_statistics_are_those_of_the_codes() -> None:
    content, _ = ncx_of(2)
    facts = inspected(content)
    assert facts.is_whole
    assert facts.digest == "ok"
    shares = np.array([6, 6, 4, 4]) / 20
    entropy = -(shares * np.log2(shares)).sum()
    first, second = facts.codebooks
    assert (first.n_used, second.n_used) == (4, 1)
    assert first.entropy_bits == pytest.approx(entropy)
    assert second.entropy_bits == 0
    assert facts.packed_bits == 4
    assert facts.spent_bits == pytest.approx(8 * facts.payload_bytes / 40)


def test_all_bytes_are_accounted_for() -> None:
    content, _ = ncx_of()
    for form in content, broken_packet(content, 1), content[:-5], content + b"more":
        facts = inspected(form)
        sizes = facts.overhead_bytes, facts.payload_bytes, facts.damaged_bytes
        assert sum(sizes) == len(form)
        assert min(sizes) >= 0
        assert facts.is_whole == (form == content)


def test_packets_behind_damage_keep_their_time() -> None:
    content, _ = ncx_of()
    facts = inspected(broken_packet(content, 1))
    assert [packet.number for packet in facts.packets] == [0, 2, 3]
    assert [packet.start_s for packet in facts.packets] == [0, 1.0, 1.5]
    assert [damage.missing for damage in facts.damage] == [range(1, 2)]
    assert (facts.digest, facts.unchecked_because) == ("unchecked", "the file is damaged")


def test_without_an_index_the_time_behind_damage_is_unknown() -> None:
    content, _ = ncx_of()
    facts = inspected(broken_packet(content, 1)[:-1])
    assert [packet.start_s for packet in facts.packets] == [0, None, None]
    assert facts.trailer is None


def test_dependent_packets_are_lost_with_the_one_before() -> None:
    content, _ = ncx_of(dependent=True)
    facts = inspected(broken_packet(content, 1))
    assert [damage.missing for damage in facts.damage] == [
        range(1, 2), range(2, 3), range(3, 4),
    ]  # fmt: skip


def test_a_wrong_digest_is_seen() -> None:
    header = ncx_of()[1]
    stream = io.BytesIO()
    writer = Writer(stream, header)
    coder = open_coder("adaptive", n_streams=1, n_codebooks=2, codebook_size=16)
    writer.write_packet(10, coder.encode(spread_codes(10)))
    writer.finish(b"\0\0\0\0")
    facts = inspected(stream.getvalue())
    assert (facts.digest, facts.is_whole) == ("mismatch", False)


def test_length_of_a_live_stream_is_in_its_trailer() -> None:
    content, _ = ncx_of(n_samples=None)
    assert inspected(content).n_samples == 4000
    cut = inspected(content[:-1])
    assert (cut.n_samples, cut.duration_s) == (None, 2.0)


def test_text_for_people(run: Run) -> None:
    Path("song.ncx").write_bytes(ncx_of()[0])
    ran = run("inspect", "song.ncx")
    assert (ran.code, ran.err) == (0, "")
    n_bytes = Path("song.ncx").stat().st_size
    facts = inspected(Path("song.ncx").read_bytes())
    assert ran.out.splitlines() == [
        "song.ncx: 0:00.5, mono, 8000 Hz",
        "  samples       4000",
        "  model         other (spectral), weights 61626364: missing",
        "  codec         8000 Hz, 400 samples per frame, 20 frames/s",
        "  codes         1 stream of 2 codebooks of 16",
        "  entropy coder adaptive",
        "  tag           TITLE=Hum\\x1b[2J",
        "  extension     0x40, 3 bytes",
        f"  bit rate      nominal 0.16, file {n_bytes * 16 / 1000:.2f}, "
        f"payload {facts.payload_bytes * 16 / 1000:.2f} kbps",
        f"  bytes         {n_bytes}: header {facts.header_bytes}, payload {facts.payload_bytes}, "
        f"packet framing {facts.framing_bytes}, trailer {facts.trailer_bytes}",
        f"  overhead      {facts.overhead_bytes} bytes, {100 * facts.overhead_share:.2f} %",
        "  packets       4 of 40 frames in all, with index and trailer",
        f"  bits per code packed 4, spent {facts.payload_bytes / 10:.3f}, order-0 entropy 0.985",
        "",
        "  stream  codebook  entropy  codes used",
        "       0         0    1.971           4",
        "       0         1    0.000           1",
        "",
        "ok: all checksums hold, codes digest matches",
    ]


def test_damage_is_shown_and_the_exit_code_is_1(run: Run) -> None:
    Path("song.ncx").write_bytes(broken_packet(ncx_of()[0], 1))
    ran = run("inspect", "song.ncx")
    assert (ran.code, ran.err) == (1, "")
    assert ran.out.startswith("song.ncx: 0:00.5, mono, 8000 Hz\n")
    last = ran.out.splitlines()[-1]
    assert re.fullmatch(
        r"DAMAGED: packet 1 at byte \d+: packet_crc is [0-9A-F]{8}, but its \d+ bytes have "
        r"[0-9A-F]{8} \(\d+ bytes skipped, packet 1 lost\)",
        last,
    )


def test_a_damaged_header_is_an_error(run: Run) -> None:
    content = ncx_of()[0]
    Path("song.ncx").write_bytes(content[:20] + b"?" + content[21:])
    ran = run("inspect", "song.ncx")
    assert (ran.code, ran.raw) == (1, b"")
    assert ran.err.startswith("ncodec: error: song.ncx: header at byte ")


def test_packets_are_listed(run: Run) -> None:
    Path("song.ncx").write_bytes(broken_packet(ncx_of()[0], 1)[:-1])
    lines = run("inspect", "--packets", "song.ncx").out.splitlines()
    assert lines[-4].split() == [
        "packet", "offset", "bytes", "payload", "start", "frames", "kbps", "kind",
    ]  # fmt: skip
    rows = [line.split() for line in lines[-3:]]
    assert [row[0] for row in rows] == ["0", "2", "3"]
    assert [row[4] for row in rows] == ["0:00.0", "?", "?"]
    assert {row[7] for row in rows} == {"key"}


def test_every_byte_is_named(run: Run) -> None:
    content = ncx_of()[0]
    Path("song.ncx").write_bytes(content)
    text = run("inspect", "--bytes", "song.ncx").out
    lines = text[text.index("# header") :].splitlines()
    spans = list(annotate(io.BytesIO(content)))
    fields = [line for line in lines if not line.startswith("#")]
    assert [int(line[:8], 16) for line in fields] == [span.offset for span in spans]
    assert [line[10:49].strip() for line in fields if "..." not in line] == [
        content[span.offset : span.offset + span.n_bytes].hex(" ").upper()
        for span in spans if span.n_bytes <= 12
    ]  # fmt: skip
    assert [line[49:].split()[0] for line in fields] == [span.name for span in spans]
    assert [line for line in lines if line.startswith("#")] == [
        "# header", "# packet 0", "# packet 1", "# packet 2", "# packet 3", "# trailer",
    ]  # fmt: skip
    assert sum(span.n_bytes for span in spans) == len(content)


def test_bytes_behind_damage_are_counted(run: Run) -> None:
    content = broken_packet(ncx_of()[0], 1)
    Path("song.ncx").write_bytes(content)
    ran = run("inspect", "--bytes", "song.ncx")
    assert ran.code == 1
    title, last = ran.out.splitlines()[-2:]
    assert title == "# not understood"
    found = re.match(
        r"([0-9A-F]{8})  (\d+) bytes: song.ncx: packet 1 at byte \d+: packet_crc", last
    )
    assert found is not None
    assert int(found[1], 16) + int(found[2]) == len(content)


def test_json_holds_what_is_known(run: Run, make_ncx: MakeNcx) -> None:
    path = make_ncx("song.ncx", "--entropy", "packed", n_channels=2, title="Hum")
    ran = run("inspect", "--json", "song.ncx")
    assert ran.code == 0
    got = json.loads(ran.out)
    assert got["schema"] == "ncodec.inspect/1"
    assert got["model"]["state"] == "installed"
    assert got["audio"] == {
        "sample_rate_hz": 8000, "n_channels": 2, "n_samples": 4000, "duration_s": 0.5,
    }  # fmt: skip
    assert got["tags"] == [{"key": "TITLE", "value": "Hum"}]
    assert got["bytes"]["total"] == path.stat().st_size
    assert got["bits_per_code"]["spent"] == got["bits_per_code"]["packed"] == 4
    assert got["bitrate_bps"]["nominal"] == 3200
    assert got["integrity"] == {
        "ok": True, "n_packets": 1, "has_trailer": True, "digest": "ok",
        "unchecked_because": None, "damage": [],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("architecture", "content", "denoised"),
    [(2, b"\1", True), (2, b"\0", False), (2, b"\1\1", False), (1, b"\1", False), (2, None, False)],
)
def test_denoised_is_what_soundstream_says(
    run: Run, architecture: int, content: bytes | None, denoised: bool
) -> None:
    extensions = () if content is None else ((1, content),)
    header = replace(ncx_of()[1], architecture=architecture, extensions=extensions)
    stream = io.BytesIO()
    Writer(stream, header).finish(CodesDigest().digest())
    Path("song.ncx").write_bytes(stream.getvalue())
    ran = run("inspect", "song.ncx")
    assert ("  denoised      yes" in ran.out.splitlines()) == denoised
    assert json.loads(run("inspect", "--json", "song.ncx").out)["denoised"] is denoised


def test_a_coder_that_is_not_there_leaves_the_rest(run: Run) -> None:
    header = Header(
        architecture=1, model_id="tiny", model_fingerprint=b"abcd", sample_rate_hz=8000,
        n_channels=1, codebook_size=16, n_codebooks=2, samples_per_frame=400, entropy=2,
        entropy_fingerprint=b"efgh", n_samples=4000,
    )  # fmt: skip
    stream = io.BytesIO()
    writer = Writer(stream, header)
    writer.write_packet(10, b"payload")
    writer.finish(b"\0\0\0\0")
    Path("song.ncx").write_bytes(stream.getvalue())
    assert run("inspect", "song.ncx").out.splitlines()[-1] == (
        "ok: all checksums hold, codes digest not checked: the codes were not decoded"
    )
    ran = run("inspect", "--codes", "song.ncx")
    assert ran.code == 0
    assert "  model         tiny (spectral), weights 61626364: other weights\n" in ran.out
    assert "  entropy coder transformer tiny, weights 65666768\n" in ran.out
    assert ran.out.splitlines()[-1].startswith(
        "ok: all checksums hold, codes digest not checked: "
        "weights 65666768 of entropy model 'tiny': not installed; installed: "
    )
    assert json.loads(run("inspect", "--json", "song.ncx").out)["codebooks"] == []


def test_stdin(run: Run) -> None:
    ran = run("inspect", "--bytes", "-", stdin=ncx_of()[0])
    assert ran.code == 0
    assert ran.out.startswith("standard input: 0:00.5, mono, 8000 Hz\n")
    assert "# trailer" in ran.out


def test_a_file_without_samples(run: Run, make_ncx: MakeNcx) -> None:
    make_ncx(n_samples=0)
    ran = run("inspect", "--packets", "--json", "song.ncx")
    assert ran.code == 0
    got = json.loads(ran.out)
    assert got["bitrate_bps"]["total"] is None
    assert got["bits_per_code"]["spent"] is None
    assert got["packets"] == got["codebooks"] == []
    assert run("inspect", "--packets", "song.ncx").code == 0


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("missing.ncx", "missing.ncx: No such file or directory"),
        (".", ".: Is a directory"),
    ],
)
def test_what_cannot_be_opened_is_one_line(run: Run, name: str, said: str) -> None:
    ran = run("inspect", name)
    assert (ran.code, ran.raw, ran.err) == (1, b"", f"ncodec: error: {said}\n")
