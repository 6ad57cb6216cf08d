"""The examples of docs/CODES.md run as they are written."""

import doctest
from pathlib import Path

import pytest
from trees import make_audio

import ncodec

PAGE = Path(__file__).parents[2] / "docs" / "CODES.md"


def test_the_examples_of_codes_as_data(capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(4):
        path = make_audio(f"clips/{number}.wav", n_samples=48_000, rate=24_000, seed=number)
        Path("coded").mkdir(exist_ok=True)
        ncodec.encode_file(path, f"coded/{number}.ncx", model="spectral", n_q=4, effort="fast")
    failed, n_run = doctest.testfile(str(PAGE), module_relative=False)
    assert failed == 0, capsys.readouterr().out
    assert n_run > 12
