"""Front ends of discriminators: what they see of a wave.

Shapes: B batch, T samples, F frames, M bands.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ncodec.nn.mdct import Mdct
from ncodec.training.pqmf import Pqmf


class Downsampler(nn.Module):
    """The wave at a rate 2**halvings lower, by means of four samples."""

    def __init__(self, halvings: int) -> None:
        super().__init__()
        self.halvings = halvings

    def forward(self, wav: Tensor) -> Tensor:
        """Map [B, 1, T] to [B, 1, T / 2**halvings]."""
        for _ in range(self.halvings):
            wav = F.avg_pool1d(wav, 4, 2, 1, count_include_pad=False)
        return wav


class Stft(nn.Module):
    """Real and imaginary parts, scaled so that white noise keeps its variance, in float32."""

    def __init__(self, window: int, n_bins: int | None = None, least: int = 1) -> None:
        super().__init__()
        self.size, self.n_bins = window, n_bins or window // 2 + 1
        self.least = window + (least - 1) * (window // 4)  # samples, of so many frames
        self.window: Tensor
        self.register_buffer("window", torch.hann_window(window), persistent=False)

    def forward(self, wav: Tensor) -> Tensor:
        """Map [B, 1, T] to [B, 2, F, bins], a frame each quarter of a window."""
        with torch.autocast(wav.device.type, enabled=False):
            short = max(0, self.least - wav.shape[-1])
            wav = F.pad(wav.float().squeeze(1), (0, short))
            window = self.window / self.window.norm()
            bins = torch.stft(
                wav, self.size, self.size // 4, window=window, center=False, return_complex=True
            )
            return torch.view_as_real(bins[:, : self.n_bins]).permute(0, 3, 2, 1).contiguous()


class MdctFrontEnd(nn.Module):
    """MDCT coefficients, as many as there are samples, in float32."""

    def __init__(self, n_bins: int, *, turned: bool) -> None:
        super().__init__()
        self.mdct, self.n_bins = Mdct(n_bins), n_bins
        self.turned = turned  # bins before frames

    def forward(self, wav: Tensor) -> Tensor:
        """Map [B, 1, T] to [B, 1, F, bins], or [B, 1, bins, F], frames that lie in T alone."""
        with torch.autocast(wav.device.type, enabled=False):
            wav = wav.float()[..., : wav.shape[-1] // self.n_bins * self.n_bins]
            wav = F.pad(wav, (0, max(0, 2 * self.n_bins - wav.shape[-1])))
            bins = self.mdct.frames(wav) @ self.mdct.cosine
        return bins.transpose(2, 3) if self.turned else bins


class Bands(nn.Module):
    """The bands of a filter bank, in rows that no kernel spans; one band is the wave itself."""

    def __init__(self, n_bands: int, taps: int, cutoff: float, beta: float) -> None:
        super().__init__()
        self.split = Pqmf(n_bands, taps, cutoff, beta) if n_bands > 1 else nn.Identity()

    def forward(self, wav: Tensor) -> Tensor:
        """Map [B, 1, T] to [B, 1, M, T / M]."""
        return self.split(wav).unsqueeze(1)
