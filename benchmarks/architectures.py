"""Speed of the papers' architectures at full size on one thread, beside reference implementations.

    pip install encodec snac transformers
    python benchmarks/architectures.py [NAME ...] [--hilcodec CHECKOUT]

Times real time of 30 s of audio: the encoder's network and quantiser at 6 kbit/s, or the preset's
default where it has no such rate, and the decoder's, the best of several runs in one process. Ours
goes in pieces of 10 s, as files do; the reference in one call, with the same random weights: for
EnCodec and SNAC the packages of their authors, for HILCodec a checkout of
https://github.com/aask1357/hilcodec, for DAC and Mimi transformers. GMAC is what a second of audio
takes, 10^9 multiply-accumulates of products and convolutions, GMAC/s what a second of the processor
does of them; the share is of what a plain matrix product does on this machine in the same run.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from speed import best, gflops
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ncodec.hub.importers import Converted, recognise
from ncodec.models.base import CodedChunk
from ncodec.models.registry import architecture
from ncodec.models.snac import SnacConfig
from ncodec.models.torch_codec import TorchCodec, no_scales
from ncodec.native.threads import set_n_threads

PRESETS = {
    "soundstream": "soundstream",
    "soundstream-c16": "soundstream",
    "encodec_24khz": "encodec",
    "encodec_48khz": "encodec",
    "hilcodec_music": "hilcodec",
    "snac_24khz": "snac",
    "snac_44khz": "snac",
    "dac_16khz": "dac",
    "dac_24khz": "dac",
    "dac_44khz": "dac",
    "mimi": "mimi",
}
KBPS = 6.0
Coding = tuple[Callable[[Tensor], Any], Callable[[Any], Tensor]]  # to encode, to decode


def ours(codec: TorchCodec, n_q: int) -> Coding:
    """Return how a codec codes a waveform [1, C, T] in pieces of 10 s, and back."""
    piece = 10 * codec.config.sample_rate_hz

    def encode(wav: Tensor) -> list[CodedChunk]:
        state = codec.start_encoder(1)
        parts = wav.split(piece, 2)
        last = len(parts) - 1
        return [
            codec.encode_chunk(part, state, n_q, last=number == last)
            for number, part in enumerate(parts)
        ]

    def decode(chunks: list[CodedChunk]) -> Tensor:
        state = codec.start_decoder(1)
        wav = [codec.decode_chunk(chunk, state) for chunk in chunks]
        end = chunks[-1].codes[..., :0]
        nothing = CodedChunk(end, no_scales(end.float()))
        return torch.cat([*wav, codec.decode_chunk(nothing, state, last=True)], 2)

    return encode, decode


def gmac(codec: TorchCodec, coding: Coding) -> tuple[float, float]:
    """Return the 10^9 multiply-accumulates of encoding and of decoding a second of audio."""
    config = codec.config
    encode, decode = coding
    seconds = 4
    wav = torch.zeros(1, config.n_channels, seconds * config.sample_rate_hz)
    with FlopCounterMode(display=False) as encoding:
        coded = encode(wav)
    with FlopCounterMode(display=False) as decoding:
        decode(coded)
    lstm = {}  # which the counter leaves out
    n_frames = codec.n_frames(seconds * config.sample_rate_hz)
    for side in ("encoder", "decoder"):
        layers = [m for m in codec.get_submodule(side).modules() if isinstance(m, nn.LSTM)]
        lstm[side] = sum(m.num_layers * 8 * m.hidden_size**2 * n_frames for m in layers)
    return (
        (encoding.get_total_flops() / 2 + lstm["encoder"]) / seconds / 1e9,
        (decoding.get_total_flops() / 2 + lstm["decoder"]) / seconds / 1e9,
    )


def need_no_torchaudio() -> None:
    """Let references import torchaudio, which loads beside some builds of torch only."""
    try:
        import torchaudio  # noqa: F401
    except (ImportError, OSError, RuntimeError):
        sys.modules["torchaudio"] = stub = ModuleType("torchaudio")
        stub.__spec__ = ModuleSpec("torchaudio", None)


def reference_encodec(name: str) -> nn.Module | None:
    """Return the model of the authors' package with random weights, None where it is not there."""
    need_no_torchaudio()
    try:
        from encodec import EncodecModel  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    model = getattr(EncodecModel, f"encodec_model_{name[8:]}")(pretrained=False)
    for layer in model.quantizer.vq.layers:
        layer._codebook.embed.copy_(torch.randn(1024, 128))
    model.set_target_bandwidth(6.0)
    return model.eval()


def reference_hilcodec(checkout: str | None) -> nn.Module | None:
    """Return the authors' model with random weights, None without their code.

    Of their package only what the model needs is loaded.
    """
    if checkout is None:
        return None
    sys.path.insert(0, checkout)
    for name in ("models", "models.hilcodec"):
        package = ModuleType(name)
        package.__path__ = [str(Path(checkout, *name.split(".")))]
        sys.modules[name] = package
    for name, attribute in (("utils", "verbose"), ("functional", "STFT")):
        sys.modules[name] = ModuleType(name)
        setattr(sys.modules[name], attribute, lambda: False)
    from models.hilcodec.models import HILCodec  # pyright: ignore[reportMissingImports]

    scale = 3**-0.5
    model = HILCodec(
        24000, channels_enc=64, channels_dec=96, n_residual_enc=2, n_residual_dec=3,
        res_scale_enc=scale, res_scale_dec=scale, spec="stft", spec_compression="log",
        vq_kwargs={"dim": 128, "codebook_size": 1024, "num_quantizers": 12},
    )  # fmt: skip
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.numel() == 1:  # the learnt gains start at 0
                parameter.fill_(0.3)
    return model.eval()


def snac_config(name: str) -> dict[str, Any]:
    """Return what config.json of a published SNAC says."""
    config = architecture("snac").presets[name]
    assert isinstance(config, SnacConfig)
    return {
        "sampling_rate": config.sample_rate_hz,
        "encoder_dim": config.encoder_width,
        "encoder_rates": [*config.strides],
        "decoder_dim": config.decoder_width,
        "decoder_rates": [*reversed(config.strides)],
        "attn_window_size": config.window or None,
        "codebook_size": config.codebook_size,
        "codebook_dim": config.code_dim,
        "vq_strides": [*config.level_strides],
    }


def reference_snac(name: str) -> nn.Module | None:
    """Return the model of the authors' package with random weights, None where it is not there."""
    try:
        from snac import SNAC  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    return SNAC(**snac_config(name)).eval()


def reference_dac(name: str) -> nn.Module | None:
    """Return the model of transformers with random weights, None where it is not there."""
    try:
        from transformers import DacConfig, DacModel  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    sizes: Any = architecture("dac").presets[name]
    config = DacConfig(
        sampling_rate=sizes.sample_rate_hz, n_codebooks=sizes.n_codebooks,
        downsampling_ratios=list(sizes.strides),
    )  # fmt: skip
    return DacModel(config).eval()


def reference_mimi() -> nn.Module | None:
    """Return the model of transformers with random weights, None where it is not there."""
    need_no_torchaudio()
    try:
        from transformers import MimiConfig, MimiModel
    except ImportError:
        return None
    model = MimiModel(MimiConfig())
    for name, buffer in model.named_buffers():
        if name.endswith("embed_sum"):  # zeros otherwise
            buffer.normal_()
    return model.eval()


def same_weights(model: Any, kind: str, name: str) -> TorchCodec:
    """Return our codec with the weights of a reference."""
    if kind == "mimi":
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder)  # its tensors have other names in files
            converted = recognise(Path(folder))
    else:
        convert = import_module(f"ncodec.hub.importers.{kind}").convert
        state = model.state_dict()
        converted = convert(
            {name: each for name, each in state.items() if torch.is_tensor(each)},
            snac_config(name) if kind == "snac" else None,
        )
    assert isinstance(converted, Converted)
    codec = architecture(kind)(converted.config)
    codec.load_state_dict(dict(converted.tensors))
    return codec


def theirs(model: Any, kind: str, n_q: int) -> Coding:
    """Return how a reference codes a waveform [1, C, T] in one call, and back."""
    if kind in ("encodec", "snac"):
        return model.encode, model.decode
    if kind == "dac":
        hop = model.config.hop_length
        return (
            lambda wav: model.encode(nn.functional.pad(wav, (0, -wav.shape[2] % hop)), n_q)[2],
            lambda codes: model.decode(audio_codes=codes)[0],
        )
    if kind == "mimi":
        return (
            lambda wav: model.encode(wav, num_quantizers=n_q).audio_codes,
            lambda codes: model.decode(codes).audio_values,
        )
    model.remove_weight_reparameterizations()

    def encode(wav: Tensor) -> Tensor:
        return model.quantizer(model.encoder(wav), n_q, return_indices=True)[0]

    return encode, model.decoder


@torch.inference_mode()
def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", default=list(PRESETS), metavar="NAME")
    parser.add_argument("--hilcodec", metavar="CHECKOUT")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    set_n_threads(1)
    torch.manual_seed(0)
    rate = gflops() / 2
    print(f"a plain product on one thread: {rate:.0f} GMAC/s\n")
    print("| codec | | x real time | reference | ratio | GMAC a second of audio | GMAC/s | share |")
    print("|---|---|---|---|---|---|---|---|")
    for name in args.names:
        kind = PRESETS[name]
        find = {"encodec": lambda name=name: reference_encodec(name),
                "snac": lambda name=name: reference_snac(name),
                "hilcodec": lambda: reference_hilcodec(args.hilcodec),
                "dac": lambda name=name: reference_dac(name),
                "mimi": reference_mimi}  # fmt: skip
        reference = find[kind]() if kind in find else None
        if reference is None:
            codec = architecture(kind)(architecture(kind).presets[name])
        else:
            codec = same_weights(reference, kind, name)
        config = codec.eval().config
        named = KBPS in config.bandwidths_kbps
        n_q = config.n_q_for(KBPS if named else config.default_bandwidth_kbps)
        coding = ours(codec, n_q)
        n_samples = round(args.seconds * config.sample_rate_hz)
        wav = 0.1 * torch.randn(1, config.n_channels, n_samples)
        speeds = []
        for encode, decode in (coding, *([theirs(reference, kind, n_q)] if reference else [])):
            coded = encode(wav)
            times = (
                best(lambda e=encode, w=wav: e(w), args.repeats),
                best(lambda d=decode, c=coded: d(c), args.repeats),
            )
            speeds.append([args.seconds / seconds for seconds in times])
        for side, what in enumerate(("encode", "decode")):
            own, needed = speeds[0][side], gmac(codec, coding)[side]
            other = f"{speeds[1][side]:.2f} | {own / speeds[1][side]:.2f}" if reference else " | "
            done = own * needed
            print(f"| {name} | {what} | {own:.1f} | {other} | {needed:.2f} | {done:.0f} | "
                  f"{100 * done / rate:.0f} % |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
