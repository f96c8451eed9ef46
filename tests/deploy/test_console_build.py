"""Building the console: of libraries that are those of the table, and a reason left where that fails."""

import gzip
import os
import re
import subprocess
import sys

import pytest

from deploy.console import build
from tests.micropython import ROOT

IMPORT = re.compile(
    r"""(?:^|;)(?:(?:import|export)\b[^"';=(]*from|import)\s*["']([^"']+)["']|\bimport\(["']([^"']+)["']\)""", re.M
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A site that is built here, of the libraries that are kept or that the registry gives."""
    folder = tmp_path_factory.mktemp("site")
    try:
        build.make_site(folder)
    except build.CannotBuild as exc:
        pytest.skip(f"no libraries: {exc}")
    return folder


def served(site):
    return {path: gzip.decompress((site / name).read_bytes()) for path, name, *_ in listed(site)}


def listed(site):
    return [line.split(" ", 4) for line in (site / "files.txt").read_text().splitlines()]


def test_all_of_it_together_is_less_than_80_kb_gzipped(site):
    assert sum(path.stat().st_size for path in site.glob("*.gz")) <= 80_000


def test_every_import_leads_to_a_file_that_is_served(site):
    files = served(site)
    for path, content in files.items():
        if path.endswith(".js"):
            for found in filter(None, [one or other for one, other in IMPORT.findall(content.decode())]):
                assert found.startswith("."), f"{path} imports {found}"
                assert os.path.normpath(os.path.join(os.path.dirname(path), found)) in files, f"{path}: {found}"


def test_nothing_is_inline_and_nothing_comes_from_elsewhere(site):
    page = served(site)["/"].decode()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=", page)
    for path, content in served(site).items():
        own = content.decode() if "/lib/" not in path else ""
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg|\$\{)[a-z]", own), path
        assert "innerHTML" not in own and "dangerouslySet" not in own, path


def test_the_same_files_give_the_same_bytes_and_a_changed_one_another_folder(site, tmp_path, monkeypatch):
    build.make_site(tmp_path / "again")
    assert (tmp_path / "again" / "files.txt").read_text() == (site / "files.txt").read_text()
    own = dict(build.own_files(), **{"main.js": b"changed"})
    monkeypatch.setattr(build, "own_files", lambda kept: own)
    build.make_site(tmp_path / "other")
    kept = {path for path, _, _, caching, _ in listed(site) if caching == "kept"}
    assert kept & {path for path, *_ in listed(tmp_path / "other")} == set()


def test_a_library_that_is_not_the_one_of_the_table_is_not_used(tmp_path, monkeypatch):
    npm = tmp_path / "npm"
    npm.write_text('#!/bin/sh\nwhile [ "$1" != --pack-destination ]; do shift; done\necho bad >"$2/a-1.tgz"\n')
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(build.CannotBuild, match="checksum"):
        build.tarball(build.LIBRARIES[0], tmp_path / "kept")
    assert list((tmp_path / "kept").glob("*.tgz")) == []


def test_without_a_network_the_reason_is_left_for_who_opens_the_device(tmp_path):
    for folder in ("deploy/console", "firmware/web"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("build.py", "libraries.json"):
        (tmp_path / "deploy/console" / name).write_text((ROOT / "deploy/console" / name).read_text())
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\nexit 1\n")
    npm.chmod(0o755)
    environment = dict(os.environ, PATH=f"{tmp_path}:{os.environ['PATH']}")
    asked = [sys.executable, "-m", "deploy.console.build"]
    done = subprocess.run(asked, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "npm registry" in done.stderr
    assert "network" in (tmp_path / "firmware/web/site/why-not.txt").read_text()
    done = subprocess.run([*asked, "--needed"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
