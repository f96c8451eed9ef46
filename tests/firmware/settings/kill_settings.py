"""Kills a process with SIGKILL while it sets settings, again and again, and checks what the next start reads.

    python tests/firmware/settings/kill_settings.py [RUNS] [FOLDER]

RUNS defaults to the environment's KILL_RUNS, else 200. Each child sets several keys to one version number and says on a
pipe what it is about to store and what was stored; after its death the settings must be, in all keys alike, the last
version that it said was stored or the one that it was storing. Exit code 0 where that held every time.
"""

import asyncio
import os
import pathlib
import random
import signal
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[3]))

from firmware.services.settings.areas import Settings
from firmware.services.settings.document_store import DocumentStore

LONGEST_LIFE = 0.02  # seconds after the first word of a child


def changes(version: int) -> dict:
    """Changes to four keys that all carry a version; its length varies, so that files of all sizes are written."""
    return {
        "logFlags": version,
        "gsm": {"user": f"user-{version}", "password": f"secret-{version}"},
        "ntp": {"server1": f"v{version}.example.org"},
        "httpd": {"hosts": [f"v{version}.example.org"] * (version % 8)},
    }


def version_of(settings: Settings) -> int:
    """The version that all keys carry; AssertionError where they differ or anything was damaged."""
    saved = settings.saved
    assert settings.problems == [], settings.problems
    version = saved["logFlags"]
    if version:
        for name, value in changes(version).items():
            found = saved[name]
            assert (found if name == "logFlags" else {inner: found[inner] for inner in value}) == value, (name, version)
    return version


async def set_for_ever(folder: str, pipe: int) -> None:
    """Set one version after the other; before each write "try N", after it "told N" to a pipe."""
    settings = Settings(DocumentStore(folder, "settings.json"), {})
    version = version_of(settings)
    while True:
        version += 1
        os.write(pipe, b"try %d\n" % version)
        await settings.set(changes(version))
        os.write(pipe, b"told %d\n" % version)


def live_and_die(folder: str) -> str:
    """Start a child, kill it at a random moment, return what it said."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            asyncio.run(set_for_ever(folder, writing))
        finally:
            os._exit(1)
    os.close(writing)
    said = os.read(reading, 4096)
    time.sleep(random.uniform(0, LONGEST_LIFE))
    os.kill(child, signal.SIGKILL)
    while True:
        more = os.read(reading, 65536)
        if not more:
            break
        said += more
    os.close(reading)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status), "the child ended by itself"
    return said.decode()


def check(folder: str, said: str, before: int) -> "tuple[int, bool]":
    """(version that the next start reads, whether the kill came in the middle of a set)."""
    told, tried = before, before
    for line in said.splitlines():
        word, number = line.split()
        if word == "told":
            told = int(number)
        else:
            tried = int(number)
    found = version_of(Settings(DocumentStore(folder, "settings.json"), {}))
    assert found in (told, tried), f"told {told}, storing {tried}, found {found}"
    return found, told != tried


def main(runs: int, folder: str) -> None:
    """Kill `runs` times; print how it went."""
    version = caught = late = 0
    for _ in range(runs):
        said = live_and_die(folder)
        before = version
        version, in_the_middle = check(folder, said, before)
        caught += in_the_middle
        late += in_the_middle and version > before and f"told {version}" not in said
    print(f"{runs} kills, {caught} in the middle of a set ({late} of them left the new settings), {version} versions")


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else int(os.environ.get("KILL_RUNS", "200"))
    if len(sys.argv) > 2:
        main(count, sys.argv[2])
    else:
        with tempfile.TemporaryDirectory() as scratch:
            main(count, scratch)
