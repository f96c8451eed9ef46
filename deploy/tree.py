"""Puts the Python packages that the firmware needs into a folder, for a machine with Debian of any of our processors.

    python -m deploy.tree FOLDER --arch amd64|arm64|armhf --python 3.11

Nothing is built: what has no wheel for a processor comes from Debian there. The names of those Debian packages are
printed, a line each. Needs pip and `packaging` beside the interpreter that runs this.
"""

import argparse
import importlib.metadata
import os
import pathlib
import shutil
import subprocess
import sys
import tomllib

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = pathlib.Path(__file__).resolve().parents[1]
MACHINES = {"amd64": "x86_64", "arm64": "aarch64", "armhf": "armv7l"}  # Debian's name -> that of wheels and uname(2)
STAND_INS = {
    "cffi": "python3-cffi-backend",
    "dbus-fast": "python3-dbus-fast",
    "gpiod": "python3-libgpiod",
    "zeroconf": "python3-zeroconf",
}
OLDEST_GLIBC = 17  # 2.17, with which wheels for arm begin
NOT_PACKED = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")  # pip's notes hold paths of this machine


class CannotPack(Exception):
    """A package cannot be had; the text names it."""


class Tree:
    """The folder, and what is in it: `versions` by name, `stand_ins` the Debian packages that take a place."""

    def __init__(self, folder: pathlib.Path, arch: str, python: str) -> None:
        self.folder = folder
        self.versions: dict[str, str] = {}
        self.stand_ins: list[str] = []
        self._arch = arch
        self._python = python
        self._environment = default_environment() | {
            "python_version": python,
            "python_full_version": python + ".0",
            "platform_machine": MACHINES[arch],
            "extra": "",
        }

    def fill(self, requirements: list[str]) -> None:
        """Have the packages of these requirements in the folder, and what they need in turn. CannotPack."""
        wanted = [Requirement(text) for text in requirements]
        # At once where pip, which reads markers as of the Python that it runs on, cannot be wrong about what is needed.
        of_this_python = self._python == "{}.{}".format(*sys.version_info)
        if of_this_python and self._install(wanted, "--upgrade"):
            wanted = []
        while wanted:
            requirement = wanted.pop(0)
            if requirement.marker is None or requirement.marker.evaluate(self._environment):
                wanted += self._take(requirement)
        for path in self.folder.glob("*.dist-info/*"):
            if path.name in NOT_PACKED:
                path.unlink()

    def _take(self, requirement: Requirement) -> list[Requirement]:
        """What a package needs in turn, once it is there; nothing where it is there already."""
        name = canonicalize_name(requirement.name)
        if name in self.versions:
            if not requirement.specifier.contains(self.versions[name]):
                raise CannotPack(f"{requirement} is wanted, and {name} {self.versions[name]} is there already")
            return []
        if STAND_INS.get(name) in self.stand_ins:
            return []
        if not self._install([requirement], "--no-deps"):
            if name not in STAND_INS:
                raise CannotPack(f"{requirement}: has no wheel for {self._arch}, and no package of Debian is known")
            self.stand_ins.append(STAND_INS[name])
            return []
        found = next(
            distribution
            for distribution in importlib.metadata.distributions(path=[str(self.folder)])
            if canonicalize_name(distribution.metadata["Name"]) == name
        )
        self.versions[name] = found.version
        return [Requirement(text) for text in found.requires or []]

    def _install(self, requirements: list[Requirement], option: str) -> bool:
        """Whether there are wheels. CannotPack where that cannot be told."""
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", option]
        command += ["--no-compile", "--root-user-action=ignore", "--only-binary=:all:", "--target", str(self.folder)]
        command += ["--implementation", "cp", "--python-version", self._python]
        for platform in platforms(self._arch):
            command += ["--platform", platform]
        bare = [f"{requirement.name}{requirement.specifier}" for requirement in requirements]
        done = subprocess.run([*command, *bare], capture_output=True, text=True)
        shutil.rmtree(self.folder / "bin", ignore_errors=True)
        if done.returncode and "No matching distribution" not in done.stderr:
            raise CannotPack(f"{', '.join(bare)}: pip fails: {done.stderr.strip()}")
        return not done.returncode


def platforms(arch: str) -> list[str]:
    """The platform tags of wheels that run on a Debian like this one (PEP 600), the newest first."""
    machine = MACHINES[arch]
    glibc = os.confstr("CS_GNU_LIBC_VERSION") or "glibc 2.36"  # Debian 12's
    newest = int(glibc.rpartition(".")[2])
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(newest, OLDEST_GLIBC - 1, -1)]
    return [*tags, f"manylinux2014_{machine}", f"linux_{machine}"]


def requirements() -> list[str]:
    """What the firmware needs on Linux."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [*project["dependencies"], *project["optional-dependencies"]["linux"]]


def main() -> None:
    """Fill the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--arch", choices=MACHINES, required=True)
    parser.add_argument("--python", required=True)
    options = parser.parse_args()
    tree = Tree(options.folder, options.arch, options.python)
    try:
        tree.fill(requirements())
    except CannotPack as exc:
        sys.exit(f"tree: {exc}")
    for name in tree.stand_ins:
        print(name)


if __name__ == "__main__":
    main()
