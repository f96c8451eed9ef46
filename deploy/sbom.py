"""Writes the bill of materials (CycloneDX, JSON) of a folder with the firmware and its Python packages.

    python -m deploy.sbom FOLDER OUT [--debian PACKAGE]

`--debian` names a package of Debian that stands in for a Python package. Needs `cyclonedx-bom` beside the interpreter
that runs this, which checks what it writes by CycloneDX's schema.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import sysconfig
import tempfile
import venv

from firmware import VERSION

ROOT = pathlib.Path(__file__).resolve().parents[1]


def write_sbom(folder: pathlib.Path, out: pathlib.Path, debian: "list[str]", version: str = VERSION) -> None:
    """The bill of what is in `folder`; subprocess.CalledProcessError where the tool fails."""
    with tempfile.TemporaryDirectory(prefix="mc252-sbom-") as work:
        # The tool looks at what an interpreter finds: this one finds the folder and nothing else.
        empty = pathlib.Path(work, "venv")
        venv.create(empty, symlinks=True)
        packages = sysconfig.get_path("purelib", "venv", {"base": str(empty)})
        pathlib.Path(packages, "folder.pth").write_text(f"{folder.resolve()}\n")
        project = (ROOT / "pyproject.toml").read_text().replace('dynamic = ["version"]', f'version = "{version}"', 1)
        pathlib.Path(work, "pyproject.toml").write_text(project)
        command = [sys.executable, "-m", "cyclonedx_py", "environment", "--mc-type", "firmware", "--validate"]
        command += ["--pyproject", f"{work}/pyproject.toml", "--output-reproducible", str(empty)]
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        text = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    bill = json.loads(text)
    bill.setdefault("components", []).extend(
        {"type": "library", "bom-ref": name, "name": name, "purl": f"pkg:deb/debian/{name}"} for name in debian
    )
    out.write_text(json.dumps(bill, indent=1) + "\n")


def main() -> None:
    """Write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--debian", action="append", default=[])
    options = parser.parse_args()
    write_sbom(options.folder, options.out, options.debian)


if __name__ == "__main__":
    main()
