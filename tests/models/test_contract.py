"""What every architecture must do. A new one is covered by being registered."""

from itertools import pairwise

import pytest
import torch

from ncodec.errors import ModelInvalid, UsageError
from ncodec.formats.ncx import ARCHITECTURES
from ncodec.models.base import Codec, CodedChunk
from ncodec.models.registry import architecture, names
from ncodec.models.snac import Snac

BATCH = 2


def signal(codec: Codec, n_samples: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(n_samples)
    shape = (BATCH, codec.config.n_channels, n_samples)
    return 0.2 * torch.randn(shape, generator=generator)


def up_to(codec: Codec, n_q: int) -> int:
    """Return the most codebooks up to `n_q` that a codec can use."""
    return max(choice for choice in codec.config.n_q_choices if choice <= n_q)


def part(codec: Codec, chunk: CodedChunk, place: slice) -> CodedChunk:
    """Return some segments of a chunk, with their scales."""
    size = codec.segment_frames
    scales = chunk.scales
    if size > 1:
        first = place.start // size
        scales = scales[:, first : first + -(-(place.stop - place.start) // size)]
    return CodedChunk(chunk.codes[..., place], scales)


def cut(n: int, sizes: tuple[int, ...]) -> list[slice]:
    """Cut `n` into pieces of `sizes`, over and over; pieces of nothing are among them."""
    places, start = [], 0
    while start < n:
        for size in (*sizes, 0):
            places.append(slice(start, min(n, start + size)))
            start = min(n, start + size)
    return places


@pytest.mark.quick
@pytest.mark.parametrize("name", sorted(names()))
def test_number_is_the_one_in_the_specification(name: str) -> None:
    assert ARCHITECTURES[architecture(name).number] == name
    assert architecture(name).name == name


@pytest.mark.quick
@pytest.mark.parametrize("frames", [0, 1, 2, 37])
@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_shapes(codec: Codec, frames: int, beyond: int) -> None:
    n_samples = max(0, frames * codec.config.samples_per_frame + beyond)
    n_q = up_to(codec, codec.config.n_codebooks - 1)
    chunk = codec.encode(signal(codec, n_samples), n_q)
    n_frames = codec.n_frames(n_samples)
    assert chunk.codes.shape == (BATCH, n_q, n_frames)
    assert chunk.codes.dtype == torch.int64
    assert chunk.scales.shape[0] == BATCH
    assert chunk.scales.shape[1] in codec.scale_counts(n_frames)
    decoded = codec.decode(chunk, n_samples)
    assert decoded.shape == (BATCH, codec.config.n_channels, n_samples)
    assert decoded.isfinite().all()


@torch.inference_mode()
def test_frames_are_counted_for_every_length(codec: Codec) -> None:
    for n_samples in (
        1,
        79,
        80,
        859,
        860,
        861,
        880,
        881,
        940,
        960,
        961,
        1720,
        1721,
        1741,
        1820,
        2070,
    ):
        chunk = codec.encode(signal(codec, n_samples), 1)
        n_frames = codec.n_frames(n_samples)
        assert chunk.codes.shape[-1] == n_frames
        assert chunk.scales.shape[1] in codec.scale_counts(n_frames)
        whole = codec.decode_chunk(chunk, codec.start_decoder(BATCH), last=True)
        assert whole.shape[-1] >= n_samples
        assert codec.decode(chunk, n_samples).shape[-1] == n_samples


def test_frames_follow_each_other(codec: Codec) -> None:
    hop, size = codec.config.samples_per_frame, codec.segment_frames
    starts = [codec.first_sample(frame) for frame in range(3 * size + 3)]
    assert starts[0] == 0
    for frame, (sooner, later) in enumerate(pairwise(starts), 1):
        if frame % size or size == 1:
            assert later - sooner == hop
        else:  # a segment may start before the one before it ends
            assert starts[frame - size] < later <= sooner + hop


def test_codes_are_in_range_and_use_more_than_one(codec: Codec) -> None:
    codes = codec.encode(signal(codec, 8000), codec.config.n_codebooks).codes
    assert codes.min() >= 0
    assert codes.max() < codec.config.codebook_size
    assert len(codes.unique()) > 4


def test_fewer_codebooks_are_the_first_of_more_without_a_search(codec: Codec) -> None:
    wav = signal(codec, 5000)
    every = codec.encode(wav, codec.config.n_codebooks, search=1).codes
    assert codec.config.n_q_choices[-1] == codec.config.n_codebooks
    for n_q in codec.config.n_q_choices:
        assert torch.equal(codec.encode(wav, n_q, search=1).codes, every[:, :n_q])


def test_other_numbers_of_codebooks_are_refused(codec: Codec) -> None:
    choices = codec.config.n_q_choices
    for n_q in {*range(-1, codec.config.n_codebooks + 3)} - {*choices}:
        with pytest.raises(UsageError, match=f"{n_q} codebooks: expected 1.* {choices[-1]}$"):
            codec.config.check_n_q(n_q)


def test_a_wider_beam_comes_nearer(codec: Codec) -> None:
    wav = signal(codec, 5000)
    usual = codec.encode(wav, 3)
    assert torch.equal(codec.encode(wav, 3, search=codec.default_beam_width).codes, usual.codes)
    nearest, searched = (codec.encode(wav, 3, search=width) for width in (1, 16))
    assert nearest.codes.shape == searched.codes.shape
    assert torch.equal(nearest.scales, searched.scales)
    differing = (nearest.codes != searched.codes).any(1).float().mean()
    if not codec.can_search:
        assert differing == 0
        return
    assert 0.05 < differing < 1  # some frames are best coded by the nearest codes already


@pytest.mark.parametrize("width", [None, 3])
@torch.inference_mode()
def test_encoding_in_chunks_at_one_level_equals_whole(codec: Codec, width: int | None) -> None:
    wav = signal(codec, 6001)
    hop = codec.config.samples_per_frame
    wav[..., :] = wav[..., :hop].repeat(1, 1, 6001 // hop + 1)[..., :6001]  # level never changes
    whole = codec.encode(wav, 3, search=width)
    state = codec.start_encoder(BATCH, search=width)
    places = cut(6001, (hop * 20,))
    parts = [codec.encode_chunk(wav[..., place], state, 3) for place in places]
    parts.append(codec.encode_chunk(wav[..., :0], state, 3, last=True))
    codes = torch.cat([part.codes for part in parts], -1)
    assert codes.shape == whole.codes.shape
    interior = slice(20, codes.shape[-1] - 20)  # the first and last chunks are padded with silence
    assert (codes[..., interior] != whole.codes[..., interior]).float().mean() < 0.02


@torch.inference_mode()
def test_encoding_takes_chunks_of_any_size(codec: Codec) -> None:
    wav = signal(codec, 3003)
    state = codec.start_encoder(BATCH)
    n_q, places = up_to(codec, 2), cut(3003, (1, 79, 301, 80))
    parts = [codec.encode_chunk(wav[..., place], state, n_q) for place in places]
    parts.append(codec.encode_chunk(wav[..., :0], state, n_q, last=True))
    n_frames = [part.codes.shape[-1] for part in parts]
    assert sum(n_frames) == codec.n_frames(3003)
    assert all(
        part.scales.shape[1] in codec.scale_counts(n)
        for part, n in zip(parts, n_frames, strict=True)
    )


@pytest.mark.quick
@torch.inference_mode()
def test_decoding_in_chunks_equals_whole(codec: Codec) -> None:
    chunk = codec.encode(signal(codec, 6001), 3)
    whole = codec.decode(chunk, 6001)
    state = codec.start_decoder(BATCH)
    size = codec.segment_frames
    places = cut(chunk.codes.shape[-1], (size, 7 * size, 2 * size, 30 * size))
    parts = [codec.decode_chunk(part(codec, chunk, place), state) for place in places]
    nothing = part(codec, chunk, slice(0, 0))
    parts.append(codec.decode_chunk(nothing, state, last=True))
    torch.testing.assert_close(torch.cat(parts, -1)[..., :6001], whole, atol=1e-5, rtol=0)


@torch.inference_mode()
def test_decoding_from_the_middle_after_warming_up_equals_whole(codec: Codec) -> None:
    chunk = codec.encode(signal(codec, 8000), 3)
    whole = codec.decode(chunk, 8000)
    size = codec.segment_frames
    start = -(-10 // size) * size
    place = codec.first_sample(start + codec.warmup_frames)
    assert codec.segment_frames <= start < chunk.codes.shape[-1] - codec.warmup_frames
    state = codec.start_decoder(BATCH, start)
    rest = part(codec, chunk, slice(start, chunk.codes.shape[-1]))
    late = codec.decode_chunk(rest, state, last=True)
    wanted = whole[..., place:]
    found = late[..., place - codec.first_sample(start) :][..., : wanted.shape[-1]]
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)


@torch.inference_mode()
def test_encoder_is_causal_but_for_its_frame(codec: Codec) -> None:
    """What comes later, at an unchanged level, changes no code before its own first frame.

    Or none that does not wait for it.
    """
    wav = signal(codec, 4000)
    other = torch.cat([wav[..., :2000], wav[..., 2000:].flip(-1)], -1)
    codes = [codec.encode(each, 3).codes for each in (wav, other)]
    size = codec.segment_frames
    n_same = 2000 // codec.config.samples_per_frame - codec.lookahead_frames
    if size > 1:  # all segments that end before
        n_same = (2000 // codec.first_sample(size) - 1) * size
    if isinstance(codec, Snac):
        n_same = (2000 - codec.encoder_lookahead) // codec.first_sample(size) * size
    assert torch.equal(codes[0][..., :n_same], codes[1][..., :n_same])
    assert n_same > 0
    assert not torch.equal(codes[0][..., n_same + 2 :], codes[1][..., n_same + 2 :])


@torch.inference_mode()
def test_decoder_waits_no_longer_than_its_latency(codec: Codec) -> None:
    chunk = codec.encode(signal(codec, 8000), up_to(codec, 2))
    n_given = codec.decode_chunk(chunk, codec.start_decoder(BATCH)).shape[-1]
    hop = codec.config.samples_per_frame
    assert chunk.codes.shape[-1] * hop - n_given <= codec.latency_samples


def test_streams_of_a_batch_do_not_mix(codec: Codec) -> None:
    wav = signal(codec, 4000)
    both, alone = codec.encode(wav, 3), codec.encode(wav[1:], 3)
    assert (both.codes[1:] != alone.codes).float().mean() < 0.01
    decoded = codec.decode(both, 4000)[1:]
    single = codec.decode(CodedChunk(both.codes[1:], both.scales[1:]), 4000)
    torch.testing.assert_close(decoded, single, atol=1e-5, rtol=0)


def test_silence_stays_silent(codec: Codec) -> None:
    chunk = codec.encode(torch.zeros(1, codec.config.n_channels, 8000), up_to(codec, 2))
    if chunk.scales.numel():
        assert codec.decode(chunk, 8000).abs().max() < 1e-4
    else:  # it is what the weights make of it, the same for as long as it lasts
        n_ahead = 10 if isinstance(codec, Snac) else codec.lookahead_frames  # that see the end
        lasting = chunk.codes[..., 50 : chunk.codes.shape[-1] - n_ahead]
        assert lasting.shape[-1] > 30
        assert (lasting == lasting[..., -1:]).all()


def test_config_survives_json(codec: Codec) -> None:
    kind = type(codec)
    assert kind.config_class.from_dict(codec.config.to_dict()) == codec.config
    with pytest.raises(ModelInvalid, match="oddity"):
        kind.config_class.from_dict({**codec.config.to_dict(), "oddity": 1})


def test_bandwidth_is_a_whole_number_of_codebooks(codec: Codec) -> None:
    config = codec.config
    for kbps in config.bandwidths_kbps:
        assert config.n_q_for(kbps) * config.codebook_bps == pytest.approx(kbps * 1000)
    for wrong in (0.0, config.codebook_bps / 1000 * 1.5, 1e6, -1.0):
        with pytest.raises(UsageError, match="expected (a multiple|one) of"):
            config.n_q_for(wrong)


def test_reconstruct_is_what_coding_does(codec: Codec) -> None:
    """Training sees the same network as the user, but for the level and the quantiser."""
    n_samples = 10 * codec.config.samples_per_frame  # one segment
    wav = signal(codec, n_samples)
    passed = []

    def keep(latents: torch.Tensor) -> torch.Tensor:
        passed.append(latents)
        return latents

    plain, whole = codec.reconstruct(wav, keep)
    assert plain.shape == whole.shape == wav.shape
    assert passed[0].shape[:2] == (BATCH, codec.n_frames(n_samples))
    assert plain.requires_grad
