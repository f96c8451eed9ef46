"""The documents: links lead somewhere, in the checkout and in the package; the manual page knows every option; the
README's first commands print what it says."""

import json
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from tests.firmware.running import Running

ROOT = pathlib.Path(__file__).parents[1]
PAGES = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True).stdout.split()
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def links(page):
    """What a page links to, but for the web."""
    return [
        target for target in LINK.findall(page.read_text()) if "://" not in target and not target.startswith("mailto:")
    ]


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name):
    page = ROOT / name
    assert [target for target in links(page) if not (page.parent / target).exists()] == []


def help_of(*command):
    return subprocess.run(
        [sys.executable, "-m", "firmware", *command, "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.parametrize("command", [(), ("check",), ("provision",), ("licence",)])
def test_the_manual_page_knows_every_option(command):
    page = (ROOT / "deploy" / "mc252.8").read_text().replace("\\-", "-")
    options = set(re.findall(r"--[a-z-]+", help_of(*command)))
    assert options and {option for option in options if option not in page} == set()


def test_the_manual_page_is_one():
    if shutil.which("man") is None:
        pytest.skip("there is no man here")
    done = subprocess.run(["man", "--warnings", "-l", "deploy/mc252.8"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "FILES" in done.stdout


def commands_and_answers():
    """The lines of the README that log in and read four registers, and what it says they print."""
    block = (ROOT / "README.md").read_text().split("Log in and read\n")[1].split("\n\n")[1]
    lines = [line.strip() for line in block.splitlines()]
    return [line for line in lines if line[0] != "{"], [json.loads(line) for line in lines if line[0] == "{"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_first_commands_of_the_readme_print_what_it_says(tmp_path):
    commands, answers = commands_and_answers()
    board = json.loads((ROOT / "board-configs" / "simulated.json").read_text())
    with Running(tmp_path, board) as device:
        script = "\n".join(f"{command}; echo" for command in commands)
        script = script.replace("127.0.0.1:8080", f"127.0.0.1:{device.client.base_url.port}")
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60)
    printed = [json.loads(line) for line in done.stdout.splitlines() if line]
    for answer in (*printed, *answers):
        answer.pop("elapsedMs", None)
    assert printed == answers != []
