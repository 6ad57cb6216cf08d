"""Two processes of one run."""

import subprocess
import sys
from pathlib import Path

import torch

from ncodec.training.config import TrainConfig
from ncodec.training.data import pack

SCRIPT = """
import sys
from pathlib import Path

import torch

from ncodec.training.config import read_config
from ncodec.training.data import Crops, PackedCorpus
from ncodec.training.loop import Run

config, folder = read_config(Path(sys.argv[1])), Path(sys.argv[2])
run = Run(config, folder)
corpus = PackedCorpus(Path(config.data.packed), config.data.validation)
crops = Crops(corpus, config.data, 8000, run.model.coded_level)
run.start_codebooks(crops)
drawn = next(crops.batches(2, 1, 0, run.workers.rank)).wav
assert run.train(crops, 300)
kept = run.model.state_dict() | run.objective.adversary.networks.state_dict()
balance = torch.tensor(list(run.objective.balancer.sums.values()))
saved = {"model": kept | {"balance": balance}, "drawn": drawn}
torch.save(saved, folder / f"{run.workers.rank}.pt")
"""

ADVERSARY = """
[adversary]
kinds = [["wave", 1.0]]
size = "tiny"
probability = 0.5

[loss]
balanced = true
"""


def test_all_processes_hold_the_same_weights(config: TrainConfig, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    with (tmp_path / "run.toml").open("a") as stream:
        stream.write(ADVERSARY)
    pack([Path(name) for name in config.data.folders], 8000, Path(config.data.packed))
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    ran = subprocess.run(
        [*launch, str(script), str(tmp_path / "run.toml"), str(folder)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr
    first, second = (torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert not torch.equal(first["drawn"], second["drawn"])
    for name, tensor in first["model"].items():
        assert torch.equal(tensor, second["model"][name]), name
    assert (folder / "checkpoint.pt").exists()
    assert len((folder / "log.csv").read_text().splitlines()) == 5
