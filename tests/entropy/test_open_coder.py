import subprocess
import sys

import numpy as np
import pytest

from ncodec.entropy import CODER_NUMBERS, MAX_CODES, EntropyCoder, open_coder
from ncodec.errors import LimitExceeded, ModelMissing, PayloadError, UsageError

pytestmark = pytest.mark.quick

SHAPE = {"n_streams": 1, "n_codebooks": 2, "codebook_size": 16}
CODERS = ["packed", "adaptive", "mixed"]


@pytest.mark.parametrize("name", CODERS)
def test_opens_by_name_and_by_number(name):
    coder = open_coder(name, **SHAPE)
    assert isinstance(coder, EntropyCoder)
    assert coder.name == name
    assert coder.number == CODER_NUMBERS[name]
    assert type(open_coder(coder.number, **SHAPE)) is type(coder)


@pytest.mark.parametrize("unknown", ["zip", "", 4, -1, 255])
def test_refuses_an_unknown_coder(unknown):
    with pytest.raises(UsageError, match=r"expected one of packed \(0\), adaptive \(1\)"):
        open_coder(unknown, **SHAPE)


@pytest.mark.parametrize(
    "wrong",
    [{"n_streams": 0}, {"n_codebooks": 0}, {"codebook_size": 1}, {"codebook_size": 65537}],
)
@pytest.mark.parametrize("name", CODERS)
def test_refuses_impossible_shapes(name, wrong):
    with pytest.raises(UsageError, match=name):
        open_coder(name, **(SHAPE | wrong))


@pytest.mark.parametrize("name", CODERS)
def test_many_is_one_by_one(name):
    rng = np.random.default_rng(4)
    packets = [rng.integers(0, 16, (1, 2, n)) for n in (30, 1, 0, 17)]
    payloads = open_coder(name, **SHAPE).encode_many(packets)
    assert payloads == [open_coder(name, **SHAPE).encode(codes) for codes in packets]
    decoded = open_coder(name, **SHAPE).decode_many(payloads, [30, 1, 0, 17])
    assert all(np.array_equal(a, b) for a, b in zip(decoded, packets, strict=True))
    with pytest.raises(ValueError, match="shorter"):
        open_coder(name, **SHAPE).decode_many(payloads, [30, 1])


@pytest.mark.parametrize("name", CODERS)
def test_the_first_frames_of_a_packet(name):
    codes = np.random.default_rng(5).integers(0, 16, (1, 2, 700))
    payload = open_coder(name, **SHAPE).encode(codes)
    coder = open_coder(name, **SHAPE)
    for first in (1, 37, 700):
        found = coder.decode_start(payload, 700, first)
        assert found.dtype == np.int64
        assert np.array_equal(found, codes[:, :, :first])
    with pytest.raises(LimitExceeded, match=str(MAX_CODES)):
        coder.decode_start(b"", 1 << 40, 1)
    with pytest.raises(PayloadError):
        coder.decode_start(payload + b"\0", 700, 1)


@pytest.mark.parametrize("name", CODERS)
def test_limits_are_checked_before_memory_is_taken(name):
    with pytest.raises(LimitExceeded, match=str(MAX_CODES)):
        open_coder(name, **SHAPE).decode(b"", 1 << 40)
    with pytest.raises(UsageError, match="n_frames"):
        open_coder(name, **SHAPE).decode(b"", -1)
    too_many = np.broadcast_to(np.zeros(1, np.int64), (1, 2, MAX_CODES))
    with pytest.raises(UsageError, match=str(MAX_CODES)):
        open_coder(name, **SHAPE).encode(too_many)


def test_the_transformer_needs_a_model():
    with pytest.raises(ModelMissing, match="needs an entropy model"):
        open_coder("transformer", **SHAPE)


def test_importing_the_door_needs_neither_torch_nor_constriction():
    code = (
        "import sys, ncodec.entropy;"
        "print([m for m in ('torch', 'constriction', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
