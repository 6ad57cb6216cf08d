"""Every error that ncodec raises for input it cannot accept.

A message says what was being read, where (byte offset, packet, argument), what was expected and
what was found, so that the command line can print it as it is.
"""

from typing import Self


def plural(number: int, noun: str) -> str:
    """Return "1 file", "2 files", for a message."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


class NcodecError(Exception):
    """Base of all errors that are about the user's input rather than a fault in ncodec."""

    exit_code = 1

    def within(self, name: str) -> Self:
        """Return the same error, whose message first names what it is in: a file, a packet."""
        return type(self)(f"{name}: {self}")


class UsageError(NcodecError):
    """An argument, or a combination of arguments, that makes no sense."""

    exit_code = 2


class AudioError(NcodecError):
    """An audio file or array that cannot be read, written or coded."""


class RateUnsupported(AudioError):
    """An audio format that lacks a sample rate."""


class OutputExists(NcodecError):
    """The destination exists and overwriting was not asked for."""


class FormatError(NcodecError):
    """Bytes that are not a valid .ncx file. One subclass per way to fail."""


class BadSignature(FormatError):
    """The first bytes are not those of an .ncx file."""


class TextModeDamage(BadSignature):
    """The signature shows that the file went through a text-mode transfer."""


class UnsupportedVersion(FormatError):
    """The file needs a newer major version of the format."""


class Truncated(FormatError):
    """The file ends before a structure that it announced is complete."""


class ChecksumMismatch(FormatError):
    """A CRC does not match the bytes that it covers."""


class LimitExceeded(FormatError):
    """A length or count is over the limit that the format sets."""


class InvalidField(FormatError):
    """A field holds a value that the format does not allow."""


class LostSync(FormatError):
    """No packet or trailer starts where one must."""


class PayloadError(FormatError):
    """A packet's payload cannot be decoded by the entropy coder that the header names."""


class DigestMismatch(FormatError):
    """The decoded codes are not those that were encoded."""


class ModelError(NcodecError):
    """A codec or entropy model that cannot be used."""

    def within(self, name: str) -> Self:
        """Return the same error, whose message first names the file that was made with it."""
        return type(self)(f"{name}: made with {self}")


class ModelMissing(ModelError):
    """The model that a file or an argument names is not installed."""


class ModelMismatch(ModelError):
    """A model of that name is installed, but its weights are not those the file was made with."""


class ModelInvalid(ModelError):
    """A model file that is damaged or not one of ncodec's."""


class DownloadError(NcodecError):
    """A file that could not be fetched, or that is not the one that was expected."""
