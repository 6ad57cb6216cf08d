"""Quality against rate of an ncodec model and of Opus, on files of your own, as a Markdown table.

    python benchmarks/quality.py speech=clips/speech music=clips/music --seconds 10

Each GROUP=PATH is a file or a folder of audio; with --held-out CONFIG, only the files of the folder
that a training configuration names as validation. Opus needs opusenc and opusdec, PESQ the package
pesq. What is measured: true kbps (whole file over its duration), SI-SDR in dB (higher is better),
mel distance (mean absolute difference of natural-log mel spectra at windows of 256 to 2048 samples,
both signals levelled to the reference's RMS; lower is better), and for groups named speech* STOI
(0 to 1) and PESQ-wb at 16 kHz (1 to 4.6). All signals are compared at 24 kHz mono, after alignment
to the sample.
"""

import argparse
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pystoi import stoi

import ncodec
from ncodec import audio
from ncodec.training.config import read_config
from ncodec.training.data import is_validation
from ncodec.training.losses import levelled, mel_distance

RATE_HZ = 24000
MEL_WINDOWS = (256, 512, 1024, 2048)
Wav = NDArray[np.float32]  # [T]
Coder = Callable[[Wav, float], tuple[int, Wav]]  # (wav, kbps) -> bytes, decoded


def si_sdr(reference: Wav, estimate: Wav) -> float:
    """Return the scale-invariant signal-to-distortion ratio in dB (Le Roux et al., 2019)."""
    reference = (reference - reference.mean()).astype(np.float64)
    estimate = (estimate - estimate.mean()).astype(np.float64)
    target = reference * (reference @ estimate / (reference @ reference + 1e-12))
    noise = estimate - target
    return float(10 * np.log10((target @ target + 1e-12) / (noise @ noise + 1e-12)))


def mel(reference: Wav, estimate: Wav) -> float:
    """Return the mean log-mel distance over four resolutions."""
    pair = levelled(torch.from_numpy(reference)[None], torch.from_numpy(estimate)[None])
    return float(np.mean([mel_distance(*pair, size, RATE_HZ).item() for size in MEL_WINDOWS]))


def align(reference: Wav, estimate: Wav, reach: int = 2400) -> Wav:
    """Shift `estimate` by the lag, up to `reach` samples, that correlates best; same length."""
    size = 1 << (len(reference) + reach).bit_length()
    spectrum = np.fft.rfft(reference, size).conj() * np.fft.rfft(estimate, size)
    correlation = np.fft.irfft(spectrum, size)
    lags = np.concatenate([np.arange(reach), np.arange(-reach, 0)])
    lag = int(lags[np.argmax(correlation[lags])])
    shifted = estimate[lag:] if lag >= 0 else np.pad(estimate, (-lag, 0))
    shifted = shifted[: len(reference)]
    return np.pad(shifted, (0, len(reference) - len(shifted))).astype(np.float32)


def ncodec_coder(model: str) -> Coder:
    """Return a function that codes with an ncodec model."""

    def run(wav: Wav, kbps: float) -> tuple[int, Wav]:
        blob = ncodec.encode(wav, RATE_HZ, model=model, bandwidth_kbps=kbps)
        return len(blob), ncodec.decode(blob)[0][0]

    return run


def opus(wav: Wav, kbps: float) -> tuple[int, Wav]:
    """Code with opusenc and opusdec."""
    with tempfile.TemporaryDirectory() as folder:
        source, coded, back = (Path(folder) / name for name in ("a.wav", "a.opus", "b.wav"))
        audio.write(source, wav[None], RATE_HZ)
        subprocess.run(["opusenc", "--quiet", "--discard-comments", "--padding", "0", "--bitrate",
                        str(kbps), source, coded], check=True)  # fmt: skip
        subprocess.run(["opusdec", "--quiet", "--rate", str(RATE_HZ), coded, back], check=True)
        return coded.stat().st_size, audio.read(back)[0][0]


def files(place: Path, held_out: Path | None, limit: int) -> list[Path]:
    """Return at most `limit` files of a folder, evenly spread over their names."""
    found = sorted(path for path in place.rglob("*") if path.is_file()) or [place]
    if held_out is not None:
        patterns = read_config(held_out).data.validation
        found = [path for path in found if is_validation(f"{place.name}/{path.name}", patterns)]
    step = max(1.0, len(found) / limit)
    return [found[int(number * step)] for number in range(min(limit, len(found)))]


def clips(paths: list[Path], seconds: float) -> Iterator[Wav]:
    """Yield the middle `seconds` of each file at RATE_HZ, mono; silence is left out."""
    for path in paths:
        wav, rate = audio.read(path)
        mono = audio.resample(wav.mean(0, keepdims=True), rate, RATE_HZ)[0]
        n = min(len(mono), round(seconds * RATE_HZ))
        start = (len(mono) - n) // 2
        if np.abs(mono[start : start + n]).max(initial=0) > 1e-3:
            yield mono[start : start + n].astype(np.float32)


def pesq_wb(reference: Wav, estimate: Wav) -> float:
    """Return PESQ-wb (ITU-T P.862.2), NaN where its package is not installed."""
    try:
        from pesq import pesq
    except ImportError:
        return float("nan")
    at_16k = [audio.resample(wav[None], RATE_HZ, 16000)[0] for wav in (reference, estimate)]
    return float(pesq(16000, *at_16k, "wb"))


def score(reference: Wav, decoded: Wav, *, speech: bool) -> tuple[float, ...]:
    """Return SI-SDR, mel distance, STOI and PESQ-wb, the last two NaN unless it is speech."""
    decoded = align(reference, decoded)
    quality = si_sdr(reference, decoded), mel(reference, decoded)
    if not speech:
        return (*quality, float("nan"), float("nan"))
    return (*quality, float(stoi(reference, decoded, RATE_HZ)), pesq_wb(reference, decoded))


def main() -> None:
    """Print a table of all groups."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("groups", nargs="+", metavar="GROUP=PATH")
    parser.add_argument("--model", default="spectral")
    parser.add_argument("--bandwidths", default="1.5,3,6,12")
    parser.add_argument("--opus", default="6,8,12,16,24", help="kbps for Opus; empty for none")
    parser.add_argument("--held-out", type=Path, metavar="CONFIG")
    parser.add_argument("--limit", type=int, default=24, help="files of a group")
    parser.add_argument("--seconds", type=float, default=10.0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    runs = [(args.model, ncodec_coder(args.model), float(b)) for b in args.bandwidths.split(",")]
    if args.opus and shutil.which("opusenc"):
        runs += [("Opus", opus, float(b)) for b in args.opus.split(",")]
    print(
        "| clips | codec | nominal kbps | true kbps | SI-SDR dB | mel distance | STOI | PESQ-wb |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for group in args.groups:
        name, _, place = group.partition("=")
        paths = files(Path(place), args.held_out, args.limit)
        references = list(clips(paths, args.seconds))
        for codec, coder, kbps in runs:
            rows = []
            for reference in references:
                n_bytes, decoded = coder(reference, kbps)
                rate = n_bytes * 8 * RATE_HZ / len(reference) / 1000
                rows.append((rate, *score(reference, decoded, speech=name.startswith("speech"))))
            digits = (2, 2, 3, 3, 2)
            means = [
                "" if np.isnan(mean) else f"{mean:.{places}f}"
                for mean, places in zip(np.mean(rows, axis=0), digits, strict=True)
            ]
            cells = (f"{name} ({len(references)})", codec, f"{kbps:g}", *means)
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
