"""What the tests in the virtual machine share."""

import asyncio
import os
import pathlib
import subprocess
import time

import pytest

RIG = "/dev/virtio-ports/rig"


def pytest_runtest_setup(item):
    """These tests set clocks and cut networks."""
    if not os.environ.get("MC252_VM"):
        pytest.skip("runs in the virtual machine of make test-vm alone")


class Rig:
    """The one outside the machine, who plugs and unplugs things: run.py has the orders."""

    def __init__(self, file):
        self._file = file

    def ask(self, text):
        """ "ok", or what is wrong."""
        self._file.write(text.encode() + b"\n")
        return self._file.readline().decode().strip()

    def order(self, text):
        """Have something done to the machine."""
        answer = self.ask(text)
        assert answer == "ok", f"{text}: {answer}"


@pytest.fixture(scope="session")
def rig():
    with open(RIG, "r+b", buffering=0) as file:
        yield Rig(file)


@pytest.fixture(scope="session")
def run():
    """Run a command to its end; its output."""

    def run(*command, text=None, check=True):
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=120)
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    return run


@pytest.fixture(scope="session")
def reached():
    """Wait until a condition holds, and return what it gave."""

    async def reached(condition, seconds=30):
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < deadline, "it did not come to this"
            await asyncio.sleep(0.02)
        return found

    return reached


@pytest.fixture(scope="session")
def as_nobody(run):
    """Run Python code in this checkout as a user without rights; its output."""

    def as_nobody(code, *options):
        python = ["python3", "-c", code]
        checkout = str(pathlib.Path(__file__).resolve().parents[3])
        user = ["setpriv", "--reuid=somebody", "--regid=somebody", "--clear-groups", *options]
        return run("env", f"--chdir={checkout}", *user, *python)

    return as_nobody
