"""What a file is that cannot be read as audio, by its first bytes: for error messages alone."""

_AUDIO_AT_START = (
    (b"\x1a\x45\xdf\xa3", "Matroska or WebM"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "Windows Media (ASF, WMA)"),
    (b"MAC ", "Monkey's Audio (APE)"),
    (b"wvpk", "WavPack"),
    (b"TTA1", "True Audio (TTA)"),
    (b"tBaK", "TAK"),
    (b"DSD ", "DSD (DSF)"),
    (b"FRM8", "DSD (DFF)"),
    (b"MPCK", "Musepack"),
    (b"MP+", "Musepack"),
    (b"#!AMR", "AMR"),
    (b"\x7f\xfe\x80\x01", "DTS"),
    (b"\x0b\x77", "AC-3"),
    (b"ajkg", "Shorten"),
)
_OF_LIBSNDFILE = (
    b"fLaC",
    b"OggS",
    b"RIFF",
    b"RF64",
    b"FORM",
    b"caff",
    b"ADIF",
)  # some kinds of them
_OTHERS_AT_START = (
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "compressed by gzip"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"%PDF", "a PDF"),
    (b"\x89PNG", "a picture (PNG)"),
    (b"\xff\xd8\xff", "a picture (JPEG)"),
    (b"GIF8", "a picture (GIF)"),
)


def recognise(start: bytes) -> str:
    """Return what a file with these first bytes, some hundred, is; "" where nothing tells."""
    if start[4:8] == b"ftyp":
        return "MPEG-4 (m4a, mp4)"
    for magic, what in _AUDIO_AT_START + _OTHERS_AT_START:
        if start.startswith(magic):
            return what
    if len(start) > 2 and start[0] == 0xFF and start[1] & 0xF6 == 0xF0:
        return "AAC"
    if start[:3] == b"ID3":
        return "an ID3 tag without MPEG audio that can be read"
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<body")):
        return "a page of HTML or XML"
    if start and not any(start.strip(b"\0")):
        return "nothing but zeros"
    if start and all(byte >= 0x20 or byte in b"\t\r\n" for byte in start):
        return "text"
    return ""


def may_be_audio(start: bytes) -> bool:
    """Whether a file with these first bytes may be audio that libsndfile does not read."""
    if start[4:8] == b"ftyp" or start[:2] == b"\xff\xf1" or start[:2] == b"\xff\xf9":
        return True
    return start.startswith((*(magic for magic, _ in _AUDIO_AT_START), *_OF_LIBSNDFILE))
