"""The MicroPython that the tests run: beside the interpreter, where a virtual environment has it, or on the PATH."""

import os
import pathlib
import shutil
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]


def _find():
    beside = pathlib.Path(sys.executable).with_name("micropython")
    return str(beside) if beside.exists() else shutil.which("micropython")


MICROPYTHON = _find()
NEEDS_MICROPYTHON = pytest.mark.skipif(MICROPYTHON is None, reason="no MicroPython here")


def environment():
    """The environment in which MicroPython finds this tree."""
    return dict(os.environ, MICROPYPATH=f"{ROOT}:.frozen")
