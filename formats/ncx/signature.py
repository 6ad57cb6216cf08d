"""The first bytes of a file, and what text-mode transfers do to them (NCX.md, section 2)."""

from ncodec.errors import BadSignature, TextModeDamage
from ncodec.formats.ncx.cursor import Cursor
from ncodec.formats.ncx.layout import Field

SIGNATURE = b"\x8eNCX\r\n\x1a"
SIGNATURE_FIELD = Field("signature", "bytes", 7, 7, BadSignature)

_ADVICE = "transfer the original again in binary mode"


def _damaged_forms() -> dict[bytes, str]:
    """What the signature looks like after each usual kind of damage, and how it came about."""
    first_bytes = {
        SIGNATURE[:1]: "",
        b"\x0e": "the high bit of every byte was stripped",
        "\x8e".encode(): "the bytes were recoded to UTF-8",
        "\ufffd".encode(): "the bytes were recoded to UTF-8",
        b"?": "the bytes were recoded to ASCII",
    }
    line_ends = {
        b"\r\n": "",
        b"\n": "CR LF was changed to LF",
        b"\r": "CR LF was changed to CR",
        b"\r\r\n": "LF was changed to CR LF",
    }
    forms: dict[bytes, str] = {}
    for first, recoded in first_bytes.items():
        for line_end, translated in line_ends.items():
            causes = [cause for cause in (recoded, translated) if cause]
            forms[first + b"NCX" + line_end + b"\x1a"] = " and ".join(causes)
    del forms[SIGNATURE]
    return forms


_DAMAGED_FORMS = _damaged_forms()
_LONGEST_FORM = max(map(len, _DAMAGED_FORMS))


def read_signature(cursor: Cursor) -> None:
    """Step over the signature; raise BadSignature, TextModeDamage or Truncated."""
    source = cursor.source
    source.need(len(SIGNATURE))
    head = bytes(source.buffer[: len(SIGNATURE)])
    if head == SIGNATURE[: len(head)]:
        cursor.raw(SIGNATURE_FIELD, len(SIGNATURE))
        return
    source.need(_LONGEST_FORM)
    for form, cause in _DAMAGED_FORMS.items():
        if source.buffer.startswith(form):
            fault = f"the file went through a text-mode transfer ({cause}): {_ADVICE}"
            raise cursor.error(TextModeDamage, fault)
    fault = f"not an .ncx file: starts with {head.hex(' ')}, expected {SIGNATURE.hex(' ')}"
    raise cursor.error(BadSignature, fault)
