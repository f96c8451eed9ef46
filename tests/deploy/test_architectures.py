"""Packages for other processors, made here from the wheels that there are, and the bill of materials beside each."""

import os
import pathlib
import subprocess
import sys

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from deploy.tree import MACHINES, platforms
from hal.update.bundle import open_bundle
from hal.update.signed import Moment
from tests.deploy.machines import NEEDS_DEBIANS_PYTHON, ROOT, run
from tests.hal.update.keys import NOW, Maker

ELF = {"amd64": 62, "arm64": 183, "armhf": 40}  # e_machine (elf.h)
WHOLE = os.environ.get("MC252_PACKAGES") == "all"

pytestmark = pytest.mark.skipif(not pathlib.Path("/usr/bin/dpkg-deb").exists(), reason="needs dpkg-deb")


OTHERS = [pytest.param(arch, marks=pytest.mark.skipif(not WHOLE, reason="is made by make packages")) for arch in ELF]


@pytest.fixture(scope="module", params=["", *OTHERS])
def made(request, tmp_path_factory):
    """(processor, package, what make-deb said); without a processor this machine's, which other tests need too."""
    if not request.param:
        package = request.getfixturevalue("package")
        return field(package, "Architecture"), package, ""
    folder = tmp_path_factory.mktemp("dist")
    environment = dict(os.environ, TOOLS=sys.executable, ARCH=request.param)
    done = run(ROOT / "deploy" / "make-deb", folder, env=environment, timeout=600)
    assert done.returncode == 0, done.stderr
    return request.param, pathlib.Path(done.stdout.strip()), done.stderr


def field(package, name):
    return subprocess.run(["dpkg-deb", "-f", package, name], capture_output=True, text=True, check=True).stdout.strip()


def test_every_module_in_a_package_is_for_its_processor(made, tmp_path):
    arch, package, _ = made
    subprocess.run(["dpkg-deb", "-x", package, tmp_path], check=True)
    modules = [path for path in tmp_path.rglob("*.so*") if path.is_file()]
    assert modules
    for path in modules:
        head = path.read_bytes()[:20]
        assert (head[:4], int.from_bytes(head[18:20], "little")) == (b"\x7fELF", ELF[arch]), path


def test_what_has_no_wheel_comes_from_debian_and_is_said(made):
    arch, package, said = made
    assert field(package, "Architecture") == arch
    assert f"_{arch}.deb" in package.name
    needs = field(package, "Depends")
    for name in ("python3-cffi-backend", "python3-libgpiod", "python3-dbus-fast"):
        assert (name in needs, name in said) == ((True, True) if arch == "armhf" else (False, False))


def test_a_bill_of_materials_lies_beside_a_package_and_fits_its_schema(made):
    arch, package, _ = made
    text = package.with_suffix(".cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    for name in ("cryptography", "pymodbus", "microdot", "mc252-firmware"):
        assert f'"{name}"' in text
    assert ("pkg:deb/debian/python3-cffi-backend" in text) == (arch == "armhf")


@NEEDS_DEBIANS_PYTHON
@pytest.mark.skipif(not WHOLE, reason="is tried by make packages; tests/deploy/test_systemd.py makes one too")
def test_a_bundle_is_made_out_of_a_package_for_the_machines_that_the_package_is_for(made, tmp_path):
    arch, package, _ = made
    maker = Maker(tmp_path / "keys")
    out = tmp_path / "made.bundle"
    options = ["--keys", maker.folder, "--compatible", "raspberry-pi", "--package", package, "--out", out]
    done = run(sys.executable, "-m", "deploy.updates.bundle", *options, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    bundle = open_bundle(str(out), maker.keyring, Moment(NOW, NOW))
    assert bundle.header["architecture"] == f"linux-{MACHINES[arch]}-cp{sys.version_info[0]}{sys.version_info[1]}"
    paths = {entry["path"] for entry in bundle.header["files"]}
    assert {"firmware/__init__.py", "microdot/__init__.py"} <= paths
    text = (tmp_path / "made.bundle.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None and '"cryptography"' in text


def test_a_processor_that_there_is_no_package_for_is_refused(tmp_path):
    done = run(ROOT / "deploy" / "make-deb", tmp_path, env=dict(os.environ, TOOLS=sys.executable, ARCH="vax"))
    assert (done.returncode, done.stderr) == (1, "make-deb: ARCH=vax: must be amd64, arm64 or armhf\n")


def test_wheels_are_taken_from_the_newest_system_that_this_one_is_to_the_oldest():
    tags = platforms("arm64")
    assert tags[0].startswith("manylinux_2_") and "manylinux_2_17_aarch64" in tags and tags[-1] == "linux_aarch64"
    assert len(MACHINES) == len(ELF)
