"""The kernel as WebAssembly decodes what the coders here write."""

import base64
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

from ncodec import native
from ncodec.entropy import EntropyCoder, open_coder
from ncodec.hub.entropy_models import installed, load_network
from ncodec.native.kernel import model_arguments

ROOM = Path(native.__file__).parent
TOOLS = ("clang", "wasm-ld", "node")
FLAGS = [
    "--target=wasm32", "-msimd128", "-O3", "-nostdlib", "-ffreestanding", "-std=c11",
    "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", "-Wl,--no-entry",
]  # fmt: skip


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"no {', '.join(missing)}")
    sources = [str(path) for path in ROOM.glob("*.c") if not path.name.startswith("module")]
    path = tmp_path_factory.mktemp("wasm") / "kernel.wasm"
    subprocess.run(["clang", *FLAGS, *sources, "-o", str(path)], check=True)
    return path


def packets_of(coder: EntropyCoder, codes: list[NDArray[np.int64]]) -> list[dict[str, Any]]:
    """A key packet, dependent ones after it, and a payload that no encoder wrote."""
    packets = [
        {"payload": coder.encode(part, dependent=number > 0), "n_frames": part.shape[-1],
         "dependent": number > 0}
        for number, part in enumerate(codes)
    ]  # fmt: skip
    packets.append({"payload": b"\xff" * 40, "n_frames": 30, "dependent": False})
    return [
        {**packet, "payload": base64.b64encode(packet["payload"]).decode()} for packet in packets
    ]


def test_codes_are_those_of_the_coders(module: Path, tmp_path: Path) -> None:
    model = installed()[0]
    network, rng = load_network(model), np.random.default_rng(0)
    sizes, tensors = model_arguments(network.config, load_file(model.path))
    n_streams, n_q, size = 2, model.n_codebooks, network.config.codebook_size
    codes = rng.integers(0, size, (n_streams, n_q, 60))
    codes[:, :, 20:] = codes[:, :, :40]  # recur
    codes[1, :, 30:] = codes[0, :, 30:]
    parts = np.split(codes, [30, 31], axis=2)

    def coder(name: str) -> EntropyCoder:
        return open_coder(
            name, n_streams=n_streams, n_codebooks=n_q, codebook_size=size,
            network=network if name == "transformer" else None,
        )  # fmt: skip

    names = ("transformer", "adaptive", "mixed")
    job = {
        "sizes": sizes, "tensors": base64.b64encode(tensors).decode(), "n_streams": n_streams,
        "n_q": n_q, **{name: packets_of(coder(name), parts) for name in names},
    }  # fmt: skip
    (tmp_path / "job.json").write_text(json.dumps(job))
    script = str(Path(__file__).with_name("wasm.mjs"))
    ran = subprocess.run(
        ["node", script, str(module), str(tmp_path / "job.json")], capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    for found in json.loads(ran.stdout):
        *good, bad = found
        assert [packet["failed"] for packet in good] == [-1] * len(parts)
        for packet, part in zip(good, parts, strict=True):
            assert packet["codes"] == part.transpose(2, 0, 1).reshape(-1).tolist()
        assert bad["failed"] == 0
