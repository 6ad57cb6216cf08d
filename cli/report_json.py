"""An inspection as JSON values, for programs; docs/CLI.md has the schema."""

from typing import BinaryIO

from ncodec.bitstream.inspect import Inspection
from ncodec.cli.options import INSPECT_SCHEMA
from ncodec.cli.report import architecture_name, model_state
from ncodec.errors import FormatError
from ncodec.formats.ncx import ENTROPY_CODERS, Damage, annotate
from ncodec.formats.streams import View


def as_json(name: str, facts: Inspection) -> dict[str, object]:
    """Return the report as JSON values."""
    header = facts.header
    return {
        "schema": INSPECT_SCHEMA,
        "file": name,
        "model": {
            "id": header.model_id,
            "fingerprint": header.model_fingerprint.hex(),
            "architecture": architecture_name(header.architecture),
            "architecture_number": header.architecture,
            "state": model_state(header),
        },
        "audio": {
            "sample_rate_hz": header.source_sample_rate_hz,
            "n_channels": header.n_output_channels,
            "n_samples": facts.n_samples,
            "duration_s": facts.duration_s,
        },
        "codes": {
            "sample_rate_hz": header.sample_rate_hz,
            "samples_per_frame": header.samples_per_frame,
            "n_channels": header.n_channels,
            "n_streams": header.n_streams,
            "n_codebooks": header.n_codebooks,
            "codebook_size": header.codebook_size,
            "n_frames": facts.n_frames,
            "entropy_coder": ENTROPY_CODERS[header.entropy],
            "entropy_model_id": header.entropy_model_id or None,
            "entropy_fingerprint": header.entropy_fingerprint.hex() or None,
        },
        "denoised": facts.denoised,
        "tags": [{"key": key, "value": value} for key, value in header.tags],
        "pictures": [
            {"type": one.kind, "media_type": one.media_type, "description": one.description,
             "width": one.width or None, "height": one.height or None, "n_bytes": len(one.data)}
            for one in header.pictures
        ],
        "parts": [
            {"first_frame": edit.first_frame, "n_frames": edit.n_frames,
             "first_sample": edit.first_sample, "n_samples": edit.n_samples}
            for edit in header.edits
        ],
        "extensions": [
            {"id": number, "content": content.hex()} for number, content in header.extensions
        ],
        "bitrate_bps": {
            "nominal": header.bitrate_bps or None,
            "total": facts.bitrate_bps(facts.file_bytes),
            "payload": facts.bitrate_bps(facts.payload_bytes),
        },
        "bytes": {
            "total": facts.file_bytes,
            "header": facts.header_bytes,
            "attached": facts.attached_bytes,
            "payload": facts.payload_bytes,
            "framing": facts.framing_bytes,
            "trailer": facts.trailer_bytes,
            "overhead": facts.overhead_bytes,
            "damaged": facts.damaged_bytes,
        },
        "overhead_percent": 100 * facts.overhead_share,
        "bits_per_code": {
            "packed": facts.packed_bits,
            "spent": facts.spent_bits,
            "entropy": facts.entropy_bits,
        },
        "codebooks": [
            {"stream": book.stream, "codebook": book.codebook,
             "entropy_bits": book.entropy_bits, "n_used": book.n_used}
            for book in facts.codebooks
        ],
        "integrity": {
            "ok": facts.is_whole,
            "n_packets": len(facts.packets),
            "has_trailer": facts.trailer is not None,
            "digest": facts.digest,
            "unchecked_because": facts.unchecked_because,
            "damage": [_damage_json(damage) for damage in facts.damage],
        },
    }  # fmt: skip


def packet_list(facts: Inspection) -> list[dict[str, object]]:
    """Return the packets as JSON values."""
    return [
        {"number": packet.number, "offset": packet.offset, "n_bytes": packet.n_bytes,
         "payload_bytes": packet.payload_bytes, "n_frames": packet.n_frames,
         "start_s": packet.start_s, "dependent": packet.dependent, "n_scales": packet.n_scales}
        for packet in facts.packets
    ]  # fmt: skip


def byte_list(stream: BinaryIO, name: str) -> list[dict[str, object]]:
    """Return the fields of the file, up to any damage."""
    fields: list[dict[str, object]] = []
    try:
        for field in annotate(View(stream, 0), name):
            fields.append(
                {"offset": field.offset, "n_bytes": field.n_bytes, "section": field.section,
                 "name": field.name, "meaning": field.meaning}
            )  # fmt: skip
    except FormatError:
        pass  # the damage is listed
    return fields


def _damage_json(damage: Damage) -> dict[str, object]:
    missing = damage.missing
    return {
        "offset": damage.offset,
        "n_bytes": damage.n_bytes,
        "error": type(damage.error).__name__,
        "message": str(damage.error),
        "first_lost_packet": missing.start if missing else None,
        "n_lost_packets": None if missing is None else len(missing),
    }
