"""Files that must be refused, each with the error and a part of its message."""

from dataclasses import replace

from ncx_files import (
    DIGEST,
    HEADER,
    TRANSFORMER,
    attached_to,
    attachment_of,
    body_of,
    header_of,
    packet_of,
    some_packets,
    trailer_of,
    write_file,
)

from ncodec.errors import (
    BadSignature,
    ChecksumMismatch,
    FormatError,
    InvalidField,
    LimitExceeded,
    LostSync,
    TextModeDamage,
    Truncated,
    UnsupportedVersion,
)
from ncodec.formats.ncx import Picture
from ncodec.formats.ncx.layout import pack_varint

HEAD = HEADER.pack()
BODY = body_of(HEADER)
PACKETS = tuple(packet.pack() for packet in some_packets(8, 8, 8))
WHOLE = write_file(HEADER, some_packets(8, 8, 8))
TRAILER = WHOLE[len(HEAD) + sum(map(len, PACKETS)) :]

Case = tuple[bytes, type[FormatError], str]


def flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes((content[at] ^ 0x10,)) + content[at + 1 :]


def body_with(old: bytes, new: bytes) -> bytes:
    assert BODY.count(old) == 1
    return header_of(BODY.replace(old, new))


def signature_cases() -> dict[str, Case]:
    text = TextModeDamage
    return {
        "bad_signature": (b"RIFF" + bytes(40), BadSignature, "not an .ncx file: starts with 52 49"),
        "bad_signature_after_ncx": (WHOLE[:4] + b"\0" + WHOLE[5:], BadSignature, "8e 4e 43 58 00"),
        "text_high_bit": (bytes(byte & 0x7F for byte in WHOLE), text, "high bit"),
        "text_crlf_to_lf": (WHOLE.replace(b"\r\n", b"\n"), text, "CR LF was changed to LF"),
        "text_crlf_to_cr": (WHOLE.replace(b"\r\n", b"\r"), text, "CR LF was changed to CR"),
        "text_lf_to_crlf": (WHOLE.replace(b"\n", b"\r\n"), text, "LF was changed to CR LF"),
        "text_utf8": (WHOLE.decode("latin-1").encode(), text, "recoded to UTF-8"),
        "text_replaced": (WHOLE.decode(errors="replace").encode(), text, "recoded to UTF-8"),
        "version_major_2": (header_of(BODY, 0x20), UnsupportedVersion, "version is 32"),
        "version_major_0": (header_of(BODY, 0x0F), UnsupportedVersion, "version is 15"),
        "version_coder": (  # unknown until 1.3: a header, and nothing after it
            body_with(b"\x01\xc0\xbb\x01", b"\x03\xc0\xbb\x01"),
            Truncated,
            "without a trailer",
        ),
        "version_coder_4": (
            body_with(b"\x01\xc0\xbb\x01", b"\x04\xc0\xbb\x01"),
            UnsupportedVersion,
            "entropy is 4",
        ),
        "version_critical": (
            header_of(BODY + b"\0\x90\0"),
            UnsupportedVersion,
            "0x90 is critical",
        ),
    }


def header_cases() -> dict[str, Case]:
    bad = InvalidField
    body = body_of(TRANSFORMER)
    same_id = body.replace(b"\0" + TRANSFORMER.entropy_fingerprint, b"\x08spec-24k\1\2\3\4")
    return {
        "truncated_empty": (b"", Truncated, "needs 7 bytes, 0 left"),
        "truncated_signature": (WHOLE[:6], Truncated, "needs 7 bytes, 6 left"),
        "truncated_header": (WHOLE[:30], Truncated, "left"),
        "checksum_header": (flipped(WHOLE, 15), ChecksumMismatch, "header_crc is"),
        "limit_header_length": (
            HEAD[:8] + pack_varint(65537) + bytes(50),
            LimitExceeded,
            "header_length is 65537",
        ),
        "limit_tag_count": (header_of(BODY + pack_varint(1025)), LimitExceeded, "tag_count"),
        "header_ends_early": (header_of(BODY[:-2]), bad, "n_samples needs 1 bytes, 0 left"),
        "header_architecture_0": (header_of(b"\0" + BODY[1:]), bad, "architecture is 0"),
        "header_id_empty": (header_of(b"\x80\0" + BODY[10:]), bad, "model_id is empty"),
        "header_id_usual": (header_of(b"\1\x08spectral" + BODY[10:]), bad, "must be empty"),
        "header_id_letters": (body_with(b"spec-24k", b"spec/24k"), bad, "'spec/24k'"),
        "header_id_not_utf8": (body_with(b"spec-24k", b"spec\xff24k"), bad, "not UTF-8"),
        "header_same_entropy_id": (header_of(same_id), bad, "entropy_model_id must be empty"),
        "header_same_rate": (body_with(b"\x80\xf7\x02", b"\xc0\xbb\x01"), bad, "must be 0"),
        "header_rate_0": (body_with(b"\xc0\xbb\x01", b"\0"), bad, "sample_rate_hz is 0"),
        "header_streams": (body_with(b"\x01\x01\x80\x08", b"\x03\x02\x80\x08"), bad, "3 channels"),
        "header_varint_long": (body_with(b"\x80\x08", b"\x80\x88\x00"), bad, "needless last byte"),
        "header_varint_endless": (body_with(b"\x80\x08", b"\x80" * 9), bad, "more than 9 bytes"),
        "header_tag_count_0": (header_of(BODY + b"\0"), bad, "tag_count of 0"),
        "header_tag_no_equals": (header_of(BODY + b"\1\3ABC"), bad, "tag has no '='"),
        "header_tag_no_key": (header_of(BODY + b"\1\3=BC"), bad, "key is ''"),
        "header_tag_key": (header_of(BODY + b"\1\3~=C"), bad, "key is '~'"),
        "header_tag_long": (header_of(BODY + b"\1\5~=C"), bad, "tag needs 5 bytes, 3 left"),
        "header_tag_not_utf8": (header_of(BODY + b"\1\3A=\xff"), bad, "tag is not UTF-8"),
        "header_extension_0": (header_of(BODY + b"\0\0\0"), bad, "extension_id is 0"),
        "header_extension_twice": (header_of(BODY + b"\0\1\0\1\0"), bad, "0x01 occurs twice"),
        "header_extension_long": (header_of(BODY + b"\0\1\5a"), bad, "extension needs 5 bytes"),
    }


def attachment_cases() -> dict[str, Case]:
    bad = InvalidField
    picture = Picture(b"data", "image/png").pack()
    private = attachment_of(b"\x80\5bytes")

    def with_picture(content: bytes) -> bytes:
        return attached_to(HEADER, attachment_of(b"\2" + pack_varint(len(content)) + content))

    def with_tags(content: bytes) -> bytes:
        return attached_to(HEADER, attachment_of(b"\1" + pack_varint(len(content)) + content))

    return {
        "truncated_attachment": (
            attached_to(HEADER, private[:-1], 11),
            Truncated,
            "attachment 0 at byte 49: needs 11 bytes, 10 left",
        ),
        "truncated_attachments": (attached_to(HEADER, private, 22), Truncated, "the file ends"),
        "checksum_attachment": (
            attached_to(HEADER, flipped(private, 3)),
            ChecksumMismatch,
            "attachment_crc is",
        ),
        "limit_attached_bytes": (
            attached_to(HEADER, private, (1 << 26) + 1),
            LimitExceeded,
            "attached_bytes is 67108865",
        ),
        "limit_attachment": (
            attached_to(HEADER, b"\x80" + pack_varint(1 << 24) + bytes(9), 1 << 25),
            LimitExceeded,
            "attachment has a length of 16777216",
        ),
        "limit_attachments": (
            attached_to(HEADER, attachment_of(b"\x80\0") * 257),
            LimitExceeded,
            "more than 256 attachments",
        ),
        "attached_nothing": (attached_to(HEADER, b""), LimitExceeded, "attached_bytes is 0"),
        "attached_bytes_long": (
            header_of(BODY + b"\0\x83\2\x8b\0", 0x12) + private,
            bad,
            "longer than it need be",
        ),
        "attached_bytes_more": (
            header_of(BODY + b"\0\x83\2\x0b\0", 0x12) + private,
            bad,
            "1 bytes follow it",
        ),
        "attached_not_last": (
            header_of(BODY + b"\0\x83\1\x0b\x42\0", 0x12) + private,
            bad,
            "0x83 is not the last",
        ),
        "attachment_kind_0": (
            attached_to(HEADER, attachment_of(b"\0\0")),
            bad,
            "attachment_kind is 0",
        ),
        "attachment_past_the_end": (
            attached_to(HEADER, private, 8) + PACKETS[0],
            bad,
            "attachment_crc needs 4 bytes, 1 left",
        ),
        "attached_tags_second": (
            attached_to(HEADER, private + attachment_of(b"\1\4\3K=x")),
            bad,
            "tags that is not the first",
        ),
        "attached_tags_none": (with_tags(b""), bad, "tag needs 1 bytes, 0 left"),
        "attached_tags_cut": (with_tags(b"\3K=x\4K=x"), bad, "tag needs 4 bytes, 3 left"),
        "attached_tags_no_equals": (with_tags(b"\2Kx"), bad, "tag has no '='"),
        "attached_tags_key": (with_tags(b"\3~=x"), bad, "the key is '~'"),
        "attached_tags_not_utf8": (with_tags(b"\3K=\xff"), bad, "not UTF-8"),
        "picture_empty": (with_picture(b""), bad, "its type is cut off"),
        "picture_cut": (with_picture(picture[:-1]), bad, "its data has a length of 4, but 3"),
        "picture_long": (with_picture(picture + b"\0"), bad, "1 bytes follow its data"),
        "picture_type_long": (with_picture(bytes(4) + b"\xff" * 4), bad, "length of 4294967295"),
        "picture_no_sizes": (with_picture(picture[:25]), bad, "its sizes are cut off"),
        "picture_media_type": (
            with_picture(picture.replace(b"image", b"im\xe4ge")),
            bad,
            "its media type or description",
        ),
    }


def packet_cases() -> dict[str, Case]:
    bad = InvalidField
    nan, negative = b"\0\0\xc0\x7f", b"\0\0\x80\xbf"
    scales = pack_varint(4097)
    return {
        "truncated_packet": (HEAD + PACKETS[0][:12], Truncated, "packet 0 at byte 45: needs 17"),
        "truncated_trailer": (WHOLE[:-6], Truncated, "trailer at byte"),
        "truncated_no_trailer": (HEAD + PACKETS[0], Truncated, "ends here, without a trailer"),
        "truncated_large_claim": (
            HEAD + packet_of(b"\0\x0c" + pack_varint(1 << 22)),
            Truncated,
            "needs 4194316 bytes",
        ),
        "checksum_packet": (flipped(WHOLE, len(HEAD) + 8), ChecksumMismatch, "packet_crc"),
        "limit_payload_length": (
            HEAD + packet_of(b"\0\x0c" + pack_varint((1 << 22) + 1)),
            LimitExceeded,
            "payload_length is 4194305",
        ),
        "limit_scale_count": (
            HEAD + packet_of(b"\0\x0e\0" + scales + bytes(4 * 4097)),
            LimitExceeded,
            "at most 4096 for 1 streams",
        ),
        "limit_scale_count_0": (
            HEAD + packet_of(b"\0\x0e\0\0"),
            LimitExceeded,
            "scale_count is 0",
        ),
        "lost_sync": (HEAD + PACKETS[0] + b"x" + PACKETS[1], LostSync, "found 78 b5"),
        "packet_zero_frames": (HEAD + packet_of(b"\0\0\0"), bad, "frames_flags is 0"),
        "packet_gap": (HEAD + PACKETS[0] + PACKETS[2], bad, "number is 2, expected 1"),
        "packet_repeated": (HEAD + PACKETS[0] * 2, bad, "number is 0, expected 1"),
        "packet_first_dependent": (HEAD + packet_of(b"\0\x0d\0"), bad, "cannot be dependent"),
        "packet_scale_nan": (HEAD + packet_of(b"\0\x0e\0\1" + nan), bad, "scales[0] is nan"),
        "packet_scale_negative": (HEAD + packet_of(b"\0\x0e\0\1" + negative), bad, "is -1.0"),
    }


def trailer_cases() -> dict[str, Case]:
    bad = InvalidField
    start = HEAD + b"".join(PACKETS)
    sizes = bytes((17, 17, 17))
    live = replace(HEADER, n_samples=None).pack()
    count = bytes((3 << 3 | 1,))
    good = count + b"\3\3" + sizes + DIGEST
    assert start + trailer_of(good) == WHOLE
    uneven = bytes((3 << 3, 17, 3, 17, 3, 17, 3)) + DIGEST
    return {
        "checksum_trailer": (flipped(WHOLE, len(WHOLE) - 8), ChecksumMismatch, "trailer_crc"),
        "limit_packets": (
            start + trailer_of(pack_varint((1 << 24) + 1 << 3) + DIGEST),
            LimitExceeded,
            "count_flags",
        ),
        "trailer_count_high": (start + trailer_of(b"\xc0\x04" + DIGEST), bad, "cannot fit in 51"),
        "trailer_count": (
            start + trailer_of(bytes((2 << 3 | 1,)) + b"\3\3\x11\x11" + DIGEST),
            bad,
            "counts 2 packets, but 3 come before it",
        ),
        "trailer_reserved_bit": (
            start + trailer_of(bytes((3 << 3 | 5,)) + good[1:]),
            bad,
            "bit 2 set",
        ),
        "trailer_uniform_clear": (start + trailer_of(uneven), bad, "bit 0 is clear"),
        "trailer_uniform_empty": (HEAD + trailer_of(b"\1" + DIGEST), bad, "without an index"),
        "trailer_index_bytes": (
            start + trailer_of(good.replace(sizes, bytes((17, 18, 16)))),
            bad,
            "packet 1 is listed with 18 bytes and 3 frames, but has 17 and 3",
        ),
        "trailer_index_frames": (
            start + trailer_of(good.replace(b"\3\3", b"\3\4")),
            bad,
            "packet 2 is listed with 17 bytes and 4 frames",
        ),
        "trailer_samples_missing": (live + trailer_of(b"\0" + DIGEST), bad, "missing"),
        "trailer_samples_differ": (
            HEAD + trailer_of(b"\2\x05" + DIGEST),
            bad,
            "total_samples is 5, but the header says 3000",
        ),
        "trailer_length": (WHOLE[:-1] + b"\x11", bad, "trailer_length is 11, expected 10"),
        "trailing_byte": (WHOLE + b"\0", bad, "bytes follow the trailer"),
        "trailing_file": (WHOLE + WHOLE, bad, "bytes follow the trailer"),
    }


def invalid_files() -> dict[str, Case]:
    cases = signature_cases() | header_cases() | attachment_cases()
    return cases | packet_cases() | trailer_cases()
