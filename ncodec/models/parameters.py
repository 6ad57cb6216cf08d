"""Codec parameters: what a header says of how a codec encoded (NCX.md, section 3). No torch.

Decoding needs none of it. An architecture with a parameter is a row here, for encoding and for
inspection alike.
"""

DENOISED = {2: b"\x01"}  # soundstream
"""Architecture number -> its parameters where the encoder took noise away, and none otherwise."""


def pack_parameters(architecture: int, *, denoise: bool) -> bytes:
    """Return the codec parameters of an encoding, b"" for none."""
    return DENOISED[architecture] if denoise else b""


def is_denoised(architecture: int, parameters: bytes | None) -> bool:
    """Tell from a header's codec parameters, None for none, whether noise was taken away."""
    return parameters is not None and DENOISED.get(architecture) == parameters
