"""The simulated board under its real start command, and bundles of this checkout that were changed a little."""

import os
import shutil
import time

from deploy.updates.bundle import write_bundle
from deploy.updates.publish import entry_of, write_index
from firmware import VERSION
from hal.linux.update.folders import architecture
from tests.firmware.running import BOARD, Running
from tests.hal.update.keys import DAY

NEXT, BROKEN = "0.9.0", "0.9.1"
EVER_AFTER = int(time.time()) + 1000 * DAY

DEAF = """

async def _never(self, line):
    raise PortFailed("this version has no port")


SimulatedPort._open = _never
"""

CHANGES = {  # what a bundle does wrong: file, and what is put at its end
    "well": ("firmware/__init__.py", ""),
    "crashes": ("firmware/__init__.py", "raise RuntimeError('this version crashes')\n"),
    "hangs": ("firmware/__init__.py", "import time; time.sleep(3600)\n"),
    "deaf": ("hal/simulated/rs485.py", DEAF),
}


def make_bundle(tree, maker, folder, change, version):
    work = folder / "tree"
    shutil.copytree(tree, work, copy_function=os.link)
    name, more = CHANGES[change]
    edit(work, "firmware/__init__.py", lambda text: text.replace(f'"{VERSION}"', f'"{version}"'))
    edit(work, name, lambda text: text + more)
    out = folder / f"{version}-{change}.bundle"
    header = {"version": version, "minVersion": "0.0.0", "compatible": ["simulated"], "architecture": architecture()}
    write_bundle(work, out, maker.folder, header, level=1)
    return out


def edit(tree, name, change):
    """Change a file that is linked elsewhere too; what was compiled of it goes."""
    path = tree / name
    text = change(path.read_text())
    path.unlink()
    path.write_text(text)
    for compiled in (path.parent / "__pycache__").glob(path.stem + ".*"):
        compiled.unlink()


class Supervised(Running):
    """The simulated board under the start command, with a folder of updates on a web server."""

    def __init__(self, state, maker, url, http="127.0.0.1:0", **options):
        part = {"driver": "folders", "keys": str(maker.keyring_path), "compatible": "simulated"}
        settings = dict(BOARD["settings"], download={"url": url, "enabled": True})
        updater = {**part, "healthySec": 1, "trialSec": 4, **options}
        super().__init__(state, dict(BOARD, settings=settings, updater=updater), http)

    module = "hal.linux.update.supervisor"

    def read_announcement(self):
        super().read_announcement()
        self.client.timeout = 60  # a bundle is checked before the answer comes

    def version(self):
        answer = self.client.get("api/version/")
        assert answer.status_code == 200, answer.text
        return answer.json()["firmwareVer"]

    def update_state(self):
        self.login()
        return self.get("state/get/?fwUpdate")["fwUpdate"]

    def await_announcement(self, seconds=60):
        """Read the next line that says where the device is; it has started anew."""
        self.client.close()
        self.read_announcement()
        assert self.line, self.process.stderr.read()

    def stop_and_read(self):
        """What it has said on its standard error."""
        self.process.terminate()
        return self.process.communicate(timeout=20)[1]

    def await_result(self, seconds=30):
        """State fwUpdate once the last update has a result."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            state = self.update_state()
            if state["lastResult"]:
                return state
            time.sleep(0.2)
        raise AssertionError(state)


def publish(web, maker, tmp_path, *bundles, **changes):
    """Serve bundles and an index of them."""
    folder = tmp_path / "published"
    folder.mkdir(exist_ok=True)
    entries = [dict(entry_of(path), channel="stable", rollout=100, notBefore=0, **changes) for path in bundles]
    write_index(folder, maker.folder, entries, 30)
    web.files = {path.name: path.read_bytes() for path in bundles}
    web.files["index.json"] = (folder / "index.json").read_bytes()


def number(version):
    major, minor, patch = version.split(".")
    return int(major) * 10000 + int(minor) * 100 + int(patch)
