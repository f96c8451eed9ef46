"""The package and the machines that it is tried on."""

import os
import pathlib
import shutil
import sys
import tempfile

import pytest

from tests.deploy.machines import ROOT, BootedMachine, Machine, run, unpack_debian


@pytest.fixture(scope="session")
def package(tmp_path_factory):
    """The package, made by make-deb with the tools of this environment."""
    done = run(
        ROOT / "deploy" / "make-deb", tmp_path_factory.mktemp("dist"), env=dict(os.environ, TOOLS=sys.executable)
    )
    assert done.returncode == 0, done.stderr
    return pathlib.Path(done.stdout.strip())


@pytest.fixture(scope="session")
def debian():
    """Folder with a small Debian in it, which nobody changes."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="mc252-debian-"))
    try:
        reason = unpack_debian(folder)
        if reason:
            pytest.skip(reason)
        yield folder
    finally:
        shutil.rmtree(folder)


def use(made):
    try:
        if not made.ready:
            made.close()
            pytest.skip(f"no such machine can be made of namespaces here: {made.complaint.strip()}")
        yield made
    finally:
        if made.ready:
            made.close()


@pytest.fixture
def machine(debian, package):
    """A machine without a service manager."""
    yield from use(Machine(debian, package))


@pytest.fixture(scope="module")
def booted(debian, package):
    """A machine that systemd runs."""
    yield from use(BootedMachine(debian, package))
