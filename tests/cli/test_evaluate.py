"""`ncodec evaluate`. What it measures has tests of its own."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ran import Run
from tones import make_audio

from ncodec.formats.ncx import SIGNATURE

ROOT = Path(__file__).parents[2]
FAST = ("--models", "tiny", "--metrics", "si_sdr,mel_distance")


@pytest.fixture
def no_notes() -> None:
    """Skip a test of all that is said where matplotlib, too, would be missed."""
    pytest.importorskip("matplotlib")


@pytest.fixture
def clips() -> Path:
    for name in ("speech/a.wav", "speech/b.wav", "music/c.flac"):
        Path("clips", name).parent.mkdir(parents=True, exist_ok=True)
        make_audio(f"clips/{name}", n_samples=8000)
    return Path("clips")


@pytest.mark.usefixtures("no_notes")
def test_a_set(run: Run, clips: Path) -> None:
    ran = run("evaluate", "--set", clips, *FAST, "--bandwidths", "0.8,1.6", "-o", "report")
    assert ran.err == "report/index.html: 3 clips, 6 measurements\n"
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert lines[0].startswith(
        "| clips | codec | nominal kbps | true kbps | container kbps | SI-SDR"
    )
    starts = [" | ".join(line.split(" | ")[:3]) for line in lines[2:]]
    assert starts == [
        f"| {group} | tiny | {kbps}"
        for group in ("music (1)", "speech (2)")
        for kbps in ("0.8", "1.6")
    ]
    made = {path.name for path in Path("report").iterdir()}
    assert {"index.html", "report.json", "rows.csv", "summary.csv"} <= made


def test_results_are_the_same_every_time(run: Run, clips: Path) -> None:
    for folder in ("one", "two"):
        assert run("evaluate", clips / "music" / "c.flac", *FAST, "-q", "-o", folder).code == 0
    told = [json.loads(Path(folder, "report.json").read_text()) for folder in ("one", "two")]
    for report in told:
        del report["summary"]
        for row in report["rows"]:
            del row["encode_speed"], row["decode_speed"]
    assert told[0] == told[1]


@pytest.mark.usefixtures("no_notes")
def test_bad_files_do_not_stop_the_others(run: Run, clips: Path) -> None:
    Path("bad.wav").write_text("no audio")
    Path("song.ncx").write_bytes(SIGNATURE)
    files = ["gone.wav", "song.ncx", "bad.wav", clips, clips / "speech" / "a.wav"]
    ran = run("evaluate", *files, *FAST, "--bandwidths", "1.6", "-o", "report")
    assert ran.code == 1
    *errors, said = ran.err.splitlines()
    assert said == "report/index.html: 1 clip, 1 measurement"
    starts = (
        "gone.wav: No such file",
        "song.ncx: is an .ncx file",
        "clips: is a folder",
        "bad.wav: ",
    )
    for error, start in zip(errors, starts, strict=True):
        assert error.startswith(f"ncodec: error: {start}")
    assert len(json.loads(Path("report/report.json").read_text())["problems"]) == 1


def test_nothing_that_can_be_measured(run: Run) -> None:
    Path("bad.wav").write_text("no audio")
    ran = run("evaluate", "bad.wav", *FAST, "-o", "report")
    assert (ran.code, ran.raw) == (1, b"")
    assert not Path("report").exists()


@pytest.mark.usefixtures("no_notes")
def test_a_missing_metric_is_named_once(
    run: Run, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pystoi", None)
    metrics = ("--models", "tiny", "--metrics", "si_sdr,stoi", "--bandwidths", "1.6")
    ran = run("evaluate", "--set", clips, *metrics, "-o", "report")
    assert ran.code == 0
    note = "not measured: STOI (package pystoi); pip install 'ncodec[evaluate,pesq]' has all"
    assert ran.err.splitlines()[0] == f"ncodec: warning: {note}"
    assert ran.err.count("warning") == 1
    assert "STOI" not in ran.out
    assert note in json.loads(Path("report/report.json").read_text())["notes"]


def test_a_report_is_kept(run: Run, clips: Path) -> None:
    Path("report").mkdir()
    Path("report/index.html").write_text("mine")
    args = ["evaluate", clips / "speech" / "a.wav", *FAST, "--bandwidths", "1.6", "-o", "report"]
    ran = run(*args)
    assert (ran.code, ran.err) == (
        1,
        "ncodec: error: report: holds a report already; -f replaces it\n",
    )
    assert run(*args, "-f").code == 0
    assert Path("report/index.html").read_text() != "mine"


def test_stereo_has_columns_of_its_own(
    run: Run, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("visqol", "pesq", "pystoi"):
        monkeypatch.setitem(sys.modules, package, None)
    make_audio("clips/music/stereo.wav", n_samples=8000, n_channels=2)
    args = ("--models", "tiny", "--bandwidths", "1.6", "--json", "-o", "report", "-f")
    keys = [
        [metric["key"] for metric in json.loads(run("evaluate", *some, *args).out)["metrics"]]
        for some in (("--set", "clips"), ("--set", "clips", "--mono"), ("clips/music/c.flac",))
    ]
    usual = ["si_sdr", "mel_distance", "stft_distance"]
    assert keys == [[*usual, "ild_error", "ipd_error", "ic_error", "pre_echo"], usual, usual]
    ran = run("evaluate", "--set", "clips", *args)
    scores = {row["clip"]: row["scores"] for row in json.loads(ran.out)["rows"]}
    assert scores["music/stereo.wav"]["ild_error"] > 0
    assert scores["music/c.flac"]["ild_error"] is None


@pytest.mark.skipif(shutil.which("opusenc") is None, reason="opus-tools are not there")
@pytest.mark.parametrize(("n_channels", "kbps"), [(1, [6, 8, 12, 16, 24]), (2, [16, 24, 32, 48])])
def test_bandwidths_of_opus(run: Run, n_channels: int, kbps: list[float]) -> None:
    wav = make_audio("a.wav", n_samples=4000, n_channels=n_channels)
    ran = run("evaluate", wav, "--models", "tiny", "--bandwidths", "1.6", "--metrics", "si_sdr",
              "--against", "opus", "--json", "-o", "report")  # fmt: skip
    rows = json.loads(ran.out)["rows"]
    assert [row["bandwidth_kbps"] for row in rows if row["codec"] == "opus"] == kbps


@pytest.mark.skipif(shutil.which("opusenc") is None, reason="opus-tools are not there")
def test_against_opus(run: Run, clips: Path) -> None:
    ran = run(
        "evaluate", "--set", clips / "music", *FAST, "--bandwidths", "1.6", "--against", "opus",
        "--against-bandwidths", "8,16", "--rate", "24000", "--json", "-o", "report",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    rows = json.loads(ran.out)["rows"]
    assert [(row["codec"], row["bandwidth_kbps"]) for row in rows] == [
        ("tiny", 1.6), ("opus", 8.0), ("opus", 16.0),
    ]  # fmt: skip
    assert all(row["sample_rate_hz"] == 24000 for row in rows)
    assert all(abs(row["lag_samples"]) < 5 for row in rows[1:])
    assert 0 < rows[1]["overhead_kbps"] < rows[1]["kbps"]


def test_opus_that_is_not_there(run: Run, clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    ran = run("evaluate", "--set", clips, *FAST, "--against", "opus", "-o", "report")
    assert ran.code == 2
    assert ran.err.startswith("ncodec: error: opus: opusenc and opusdec not found")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "nothing to measure"),
        (["x.wav", "--held-out", "c.toml"], "--held-out chooses from folders"),
        (["x.wav", "--against-bandwidths", "6"], "--against-bandwidths needs --against"),
        (["x.wav", "--bandwidths", "1.5,x"], "--bandwidths 1.5,x: expected numbers"),
        (["x.wav", "--bandwidths", "0"], "--bandwidths 0: expected numbers"),
        (["--set", "clips", "--metrics", "ears"], "metric 'ears': expected one of"),
        (["--set", "clips", "--models", "tiny", "--bandwidths", "0.3"], "bandwidth 0.3 kbps"),
        (["--set", "clips", "--held-out", "none.toml"], "none.toml: "),
        (["--set", "none"], "none: no such folder"),
    ],
)
def test_bad_command_lines_exit_with_2(run: Run, clips: Path, args: list[str], said: str) -> None:
    ran = run("evaluate", *args, "-o", "report")
    assert (ran.code, ran.raw) == (2, b"")
    assert ran.err.startswith(f"ncodec: error: {said}")
    assert not Path("report").exists()


def test_a_missing_model(run: Run, clips: Path) -> None:
    ran = run("evaluate", "--set", clips, "--models", "gone", "-o", "report")
    assert ran.code == 1
    assert ran.err.startswith("ncodec: error: model 'gone': not installed")


def test_bad_inputs_are_found_without_torch() -> None:
    code = (
        "import sys; from ncodec.cli.main import main\n"
        "try: main(['evaluate', 'gone.wav', '-o', 'report'])\n"
        "finally: print('torch' in sys.modules, 'numpy' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (1, "False False\n")


def places(value: object, place: str = "") -> set[str]:
    """All keys of a JSON value, as docs/CLI.md writes them."""
    if isinstance(value, dict):
        return {key for name, inner in value.items() for key in places(inner, f"{place}.{name}")}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return {key for inner in value for key in places(inner, f"{place}[]")}
    return {place.removeprefix(".")}


def test_json_is_documented(run: Run, clips: Path) -> None:
    title = "JSON of evaluate, schema ncodec.evaluate/1"
    section = (ROOT / "docs" / "CLI.md").read_text().split(f"## {title}\n")[1].split("\n## ")[0]
    documented = set(re.findall(r"^\| `([^`]*)`", section, flags=re.M))
    args = ("--models", "tiny", "--metrics", "si_sdr", "--bandwidths", "1.6")
    ran = run("evaluate", "--set", clips, *args, "--json", "-q", "-o", "report")
    told = json.loads(ran.out)
    assert told == json.loads(Path("report/report.json").read_text())
    found = {re.sub(r"\.scores\.\w+", ".scores", place) for place in places(told)}
    assert found == documented
    assert told["schema"] == title.split()[-1]


def test_every_metric_is_explained() -> None:
    from ncodec.evaluation import METRICS

    text = (ROOT / "docs" / "EVALUATION.md").read_text()
    for metric in METRICS:
        assert f"`{metric.key}`" in text
        assert metric.title.removesuffix(" dB").removesuffix(" deg") in text
