"""How codes are laid out for a language model, and back.

Shapes: K codebooks (of all streams, those of the first stream before those of the next), T frames.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ncodec.bitstream.clips import smallest_type
from ncodec.errors import NcodecError, UsageError

LAYOUTS = ("frames", "flat", "delay")

Tokens = NDArray[np.signedinteger[Any]]


@dataclass(frozen=True, slots=True)
class Layout:
    """One way to write codes [K, T] as tokens.

    frames  [K, T], as they are
    flat    [T * K], frame by frame, in a frame codebook by codebook; with `offset` codebook k
            counts from k * codebook_size, so that all have tokens of their own
    delay   [K, T + K - 1], codebook k starting k steps later, as MusicGen predicts them; `pad`
            stands where there is no code

    Raises UsageError for another name, and for an offset of another layout than flat.
    """

    name: str
    n_codebooks: int  # K
    codebook_size: int
    offset: bool = False

    def __post_init__(self) -> None:
        if self.name not in LAYOUTS:
            raise UsageError(f"layout {self.name!r} is not one of {', '.join(LAYOUTS)}")
        if self.offset and self.name != "flat":
            raise UsageError(f"an offset is for the layout flat, not {self.name}")

    @property
    def pad(self) -> int:
        """The token of `delay` that is no code: MusicGen's."""
        return self.codebook_size

    @property
    def n_tokens(self) -> int:
        """Tokens are below this."""
        if self.name == "delay":
            return self.codebook_size + 1
        return self.codebook_size * (self.n_codebooks if self.offset else 1)

    @property
    def dtype(self) -> type[np.signedinteger[Any]]:
        """int16, or int32 where that does not hold all tokens."""
        return smallest_type(self.n_tokens)

    def shape(self, n_frames: int) -> tuple[int, ...]:
        """Return the shape of so many frames."""
        if self.name == "flat":
            return (n_frames * self.n_codebooks,)
        if self.name == "delay":
            return (self.n_codebooks, n_frames + self.n_codebooks - 1 if n_frames else 0)
        return (self.n_codebooks, n_frames)

    def arrange(self, codes: NDArray[Any]) -> Tokens:
        """Return codes [K, T] as tokens of `dtype`."""
        codes = codes.astype(self.dtype, copy=False)
        if self.name == "flat":
            return np.ascontiguousarray((codes + self._offsets).T).reshape(-1)
        if self.name == "delay":
            tokens = np.full(self.shape(codes.shape[1]), self.pad, self.dtype)
            for k, row in enumerate(codes):
                tokens[k, k : k + len(row)] = row
            return tokens
        return np.ascontiguousarray(codes)

    def restore(self, tokens: NDArray[Any]) -> Tokens:
        """Return the codes [K, T] of tokens; the inverse of `arrange`.

        Raises NcodecError for tokens that are no codes, also for padding where codes must be.
        """
        n_steps = tokens.shape[-1] if tokens.ndim else 0
        n_frames = {
            "frames": n_steps,
            "flat": n_steps // self.n_codebooks,
            "delay": max(0, n_steps - self.n_codebooks + 1),
        }[self.name]
        if tokens.shape != self.shape(n_frames) or tokens.dtype.kind not in "iu":
            raise NcodecError(
                f"tokens of shape {list(tokens.shape)}, type {tokens.dtype}: not of {self.name} "
                f"with {self.n_codebooks} codebooks"
            )
        codes = tokens
        if self.name == "flat":
            codes = tokens.reshape(n_frames, self.n_codebooks).T.astype(np.int64) - self._offsets
        elif self.name == "delay":
            rows = [tokens[k, k : k + n_frames] for k in range(self.n_codebooks)]
            codes = np.stack(rows) if rows else tokens
        if codes.size and not (0 <= int(codes.min()) and int(codes.max()) < self.codebook_size):  # noqa: SIM300
            raise NcodecError(
                f"tokens stand for codes {int(codes.min())} to {int(codes.max())}, expected 0 to "
                f"{self.codebook_size - 1}"
            )
        return np.ascontiguousarray(codes).astype(smallest_type(self.codebook_size), copy=False)

    @property
    def _offsets(self) -> NDArray[Any]:
        step = self.codebook_size if self.offset else 0
        return (np.arange(self.n_codebooks) * step).astype(self.dtype)[:, None]
