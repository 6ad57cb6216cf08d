"""Codec architectures, one file each."""

# Of an encoder's search; the commands find them here without torch.
EFFORTS = ("fast", "default", "best")
MAX_EFFORT = 64
MAX_QUALITY = 10
