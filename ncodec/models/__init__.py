"""Codec architectures, one file each."""

MAX_EFFORT = 64  # of an encoder's search; the commands find it here without torch
