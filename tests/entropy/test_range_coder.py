import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_coders import ReferenceRangeDecoder

from ncodec.entropy.rangecoder import MAX_ROW_SUM, RangeDecoder, RangeEncoder, check_payload
from ncodec.errors import PayloadError


def encode(symbols, frequencies):
    encoder = RangeEncoder()
    encoder.encode(np.asarray(symbols), np.asarray(frequencies))
    return encoder.finish()


def make_rows(seed, n, size, skew=1.0):
    """Rows [n, size] from flat (skew 0) to peaked, and symbols drawn from them."""
    rng = np.random.default_rng(seed)
    weights = np.exp(rng.normal(size=(n, size)) * skew)
    weights /= weights.sum(axis=1, keepdims=True)
    rows = 1 + np.floor(weights * (MAX_ROW_SUM - size)).astype(np.int64)
    symbols = [rng.choice(size, p=row / row.sum()) for row in rows]
    return rows, np.array(symbols, np.int64)


def ideal_bits(rows, symbols):
    chosen = rows[np.arange(len(rows)), symbols]
    return float(np.log2(rows.sum(axis=1) / chosen).sum())


@pytest.mark.quick
def test_golden_rows_are_what_they_were():
    rows = np.array([[1, 2, 3], [5, 5, 5], [MAX_ROW_SUM - 2, 1, 1], [1, 1, MAX_ROW_SUM - 2]])
    payload = encode([2, 0, 1, 0], rows)
    assert payload.hex() == "aaaaa97ffedb"
    assert RangeDecoder(payload).decode(rows).tolist() == [2, 0, 1, 0]


@pytest.mark.quick
def test_golden_bytes_of_a_long_message():
    step = np.arange(300)
    rows = 1 + (step[:, None] * 7919 + np.arange(50) * 104729) % 4001
    symbols = step * 31 % 50
    payload = encode(symbols, rows)
    assert len(payload) == 228
    assert payload[:16].hex() == "00006c652dc94bb7547fc0e33f993f11"
    assert payload[-4:].hex() == "1e04f1d4"


@pytest.mark.parametrize(
    ("size", "skew"), [(2, 1), (2, 5), (3, 0), (16, 2), (1000, 3), (1024, 1), (65536, 1)]
)
def test_cost_is_close_to_ideal(size, skew):
    n = 40 if size == 65536 else 1500
    rows, symbols = make_rows(7, n, size, skew)
    payload = encode(symbols, rows)
    assert np.array_equal(RangeDecoder(payload).decode(rows), symbols)
    # 24-bit probabilities with one unit kept for each symbol: size / 2**24 of the mass
    assert len(payload) * 8 <= ideal_bits(rows, symbols) * (1.001 + size / 2**24) + 16


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(0, 60),
    size=st.sampled_from([2, 3, 5, 300]),
    skew=st.sampled_from([0, 1, 4, 12]),
    cut=st.integers(0, 60),
)
def test_round_trip_in_any_split(seed, n, size, skew, cut):
    rows, symbols = make_rows(seed, n, size, skew)
    cut = min(cut, n)
    encoder = RangeEncoder()
    encoder.encode(symbols[:cut], rows[:cut])
    encoder.encode(symbols[cut:], rows[cut:])
    payload = encoder.finish()
    assert payload == encode(symbols, rows) if n else payload == b""
    assert payload[-1:] != b"\0"
    decoder = RangeDecoder(payload)
    assert np.array_equal(decoder.decode(rows), symbols)
    check_payload(payload, n)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 40),
    size=st.sampled_from([2, 3, 17]),
    unlikely=st.booleans(),
)
def test_written_text_decodes_it(seed, n, size, unlikely):
    rows, symbols = make_rows(seed, n, size, 6)
    if unlikely:  # long carries, and 24 bits for a symbol
        symbols = rows.argmin(axis=1)
    decoder = ReferenceRangeDecoder(encode(symbols, rows))
    assert [decoder.decode(row) for row in rows.tolist()] == symbols.tolist()


@pytest.mark.parametrize("last", [0, 1])
def test_long_runs_of_sure_symbols_cost_almost_nothing(last):
    rows = np.tile([[1, MAX_ROW_SUM - 1], [MAX_ROW_SUM - 1, 1]], (4000, 1))
    symbols = np.tile([1, 0], 4000)
    symbols[-1] = last
    payload = encode(symbols, rows)
    assert len(payload) < 8
    assert np.array_equal(RangeDecoder(payload).decode(rows), symbols)


def test_memory_layout_does_not_matter():
    rows, symbols = make_rows(5, 64, 33)
    payload = encode(symbols, rows)
    twice = np.repeat(np.repeat(rows, 2, axis=0), 2, axis=1)
    strided = np.repeat(symbols, 3)[::3]
    for same in (np.asfortranarray(rows), twice[::2, ::2], rows.astype(np.int32), rows[::-1][::-1]):
        assert encode(strided, same) == payload
        assert np.array_equal(RangeDecoder(payload).decode(same), symbols)


def test_decodes_symbol_by_symbol():
    rows, symbols = make_rows(6, 50, 20)
    decoder = RangeDecoder(encode(symbols, rows))
    assert [int(decoder.decode(row[None])[0]) for row in rows] == symbols.tolist()


@pytest.mark.parametrize(
    "rows",
    [
        np.ones((2, 3)),  # floats
        np.ones((2, 1), np.int64),  # an alphabet of one
        np.ones(3, np.int64),  # no rows
        np.array([[1, 0], [1, 1]]),
        np.array([[1, -1], [1, 1]]),
        np.array([[1, 1], [1, MAX_ROW_SUM]]),
        np.array([[1, 1], [1, 2**62]]),
        np.array([[2**62, 2**62], [1, 1]]),
    ],
)
def test_refuses_rows_that_are_no_frequencies(rows):
    with pytest.raises(ValueError, match="frequencies"):
        RangeEncoder().encode(np.zeros(len(rows), np.int64), rows)
    with pytest.raises(ValueError, match="frequencies"):
        RangeDecoder(b"abc").decode(rows)


@pytest.mark.parametrize(
    "symbols",
    [np.array([0, 3]), np.array([-1, 0]), np.array([0]), np.array([0.0, 1.0]), np.array([[0, 1]])],
)
def test_refuses_symbols_outside_the_alphabet(symbols):
    with pytest.raises(ValueError, match="symbols"):
        RangeEncoder().encode(symbols, np.ones((2, 3), np.int64))


def test_prints_nothing(capfd):
    rows, symbols = make_rows(8, 10, 10)
    RangeDecoder(encode(symbols, rows)).decode(rows)
    assert capfd.readouterr() == ("", "")


def test_refuses_a_zero_at_the_end():
    with pytest.raises(PayloadError, match="last byte is zero"):
        check_payload(b"ab\0", 5)


def test_refuses_more_bytes_than_the_symbols_can_need():
    check_payload(b"a" * 14, 2)
    with pytest.raises(PayloadError, match="15 bytes are too many for 2 symbols"):
        check_payload(b"a" * 15, 2)


def test_says_where_no_symbol_fits():
    rows = np.tile([[1, 1, MAX_ROW_SUM - 2]], (40, 1))
    decoder = RangeDecoder(b"\xff" * 120)
    with pytest.raises(PayloadError, match="no symbol fits after 0 symbols"):
        decoder.decode(rows)


@settings(deadline=None, max_examples=200)
@given(payload=st.binary(max_size=60), size=st.sampled_from([2, 7, 1024]))
def test_any_bytes_decode_or_raise_payload_error(payload, size):
    rows = np.ones((30, size), np.int64)
    try:
        check_payload(payload, len(rows))
        symbols = RangeDecoder(payload).decode(rows)
    except PayloadError:
        return
    assert symbols.min() >= 0
    assert symbols.max() < size
