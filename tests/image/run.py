"""Starts the image in a virtual machine, and updates it by its API: into its other system, in spite of power cuts at
random moments of the installation, and back from systems that are broken. docs/image.md says what is shown.

    python -m tests.image.run IMAGE.img [--seed N] [--count POWER-CUTS] [--only STEP ...] [--folder FOLDER]

The steps build on each other; with a FOLDER its machine is kept there, and another call goes on with the next step.
What the machine said on its console is in build/image/console.log.
"""

import argparse
import contextlib
import functools
import http.server
import json
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time

from tests.image import systems
from tests.image.machine import HOST, START_SEC, Machine, lacking

ROOT = pathlib.Path(__file__).resolve().parents[2]
KEYS = ROOT / "build/keys"
SETTINGS = {"language": "uk", "ethernet": {"hostname": "pump-house"}, "areset": {"enabled": False}}
INSTALL_SEC = 3600  # without KVM, beside other work
TRIAL_SEC = 3600


def say(text: str) -> None:
    """One line about what is going on."""
    print(f"{time.strftime('%H:%M:%S')} image: {text}", flush=True)


class Run:
    """One machine, a folder of updates beside it that is served by HTTP, and what is known of the device."""

    def __init__(self, image: pathlib.Path, folder: pathlib.Path, seed: int, count: int):
        self._folder = folder
        self._system = image.with_suffix(".root")
        self._random = random.Random(seed)
        self._count = count
        self._tree = folder / "tree"
        self._published = folder / "published"
        self._published.mkdir(exist_ok=True)
        self._known_path = folder / "known.json"
        self._known: dict = {"version": 0, "installSec": INSTALL_SEC, "port": 0, "identity": {}}
        if self._known_path.exists():
            self._known = json.loads(self._known_path.read_text())
        self._server = serve(self._published, self._known["port"])
        self.machine = Machine(image, folder)

    def go_on(self) -> None:
        """Have the machine of an earlier call run again."""
        if self._known["identity"]:
            self.machine.start()
            self.machine.wait_for_version()

    def _keep(self, **known: object) -> None:
        self._known.update(known)
        self._known_path.write_text(json.dumps(self._known))

    # Steps, in their order

    def first_start(self) -> None:
        """It starts, shows its login once, answers, and has made the disk its own."""
        self.machine.start()
        began = time.monotonic()
        version = self.machine.wait_for_version()
        say(f"{version} answers {time.monotonic() - began:.0f} s after it was switched on")
        assert self.machine.state("system")["errors"] == [], self.machine.state("system")
        assert self.machine.state("fwUpdate")["trial"] is False
        assert "FAILED" not in self.machine.console(), "a unit failed, perhaps the data do not grow"
        url = f"http://{HOST}:{self._server.server_address[1]}/"
        self.machine.call("/api/settings/saved/set/", dict(SETTINGS, download={"enabled": True, "url": url}))
        self._keep(identity=self.machine.call("/api/identify/"), port=self._server.server_address[1])
        self.restart()
        self.check_it_is_itself(version)

    def update(self) -> None:
        """An update goes into the other system, which starts, and is confirmed when it was healthy for a minute."""
        version = self.publish()
        self.bring()
        self.install()
        self.wait_until_confirmed(version)

    def broken_firmware(self) -> None:
        """A firmware that crashes is left for the one before it, and that is told."""
        with systems.broken_firmware(self.tree()):
            version = self.publish()
        self.fall_back_from(version)

    def broken_kernel(self) -> None:
        """A kernel that panics is started three times, then the system before it comes back, and that is told."""
        with systems.broken_start(self.tree()):
            version = self.publish()
        before = self.machine.console().count("Kernel panic")
        self.fall_back_from(version)
        assert self.machine.console().count("Kernel panic") >= before + 3

    def power_cuts(self) -> None:
        """The power is cut at random moments of the installation; each time a whole system comes up by itself, with its
        settings, and with the update still there, until at last it is installed."""
        running, wanted = self.machine.version(), self.ready() or self.publish()
        if self.ready() != wanted:
            self.bring()
        for number in range(self._count):
            wait = self._random.uniform(0, self._known["installSec"])
            threading.Thread(target=self.ask_to_install, daemon=True).start()
            self.machine.wait_until(lambda: self.status() == "PROGRAMMING", START_SEC, "the installation has begun")
            time.sleep(wait)
            self.machine.kill()
            self.machine.start()
            version = self.machine.wait_for_version()
            told = self.machine.state("fwUpdate")
            say(f"power cut {number + 1}, {wait:.1f} s into the installation: {version}, {told['status']}")
            self.check_it_is_itself(version)
            if version == wanted:  # it was through
                self.wait_until_confirmed(version)
                running, wanted = version, self.publish()
                self.bring()
            else:
                assert version == running
                assert (told["status"], told["trial"]) == ("READY", False) and told["rolledBackFrom"] != wanted, told
        self.install()
        self.wait_until_confirmed(wanted)

    # What steps are made of

    def tree(self) -> pathlib.Path:
        """The files of the image's own system."""
        if not self._tree.exists():
            systems.unpack(self._system, self._tree)
        return self._tree

    def publish(self) -> str:
        """Make an update of what is in the tree, put it into the folder in place of the one there; its version."""
        version = f"0.90.{self._known['version']}"
        self._keep(version=self._known["version"] + 1)
        for old in self._published.glob("*.raucb"):
            old.unlink()
        bundle = systems.make_update(self.tree(), version, self._published / f"mc252-{version}.raucb")
        command = [sys.executable, "-m", "deploy.updates.publish", str(self._published), str(bundle)]
        subprocess.run([*command, "--keys", str(KEYS)], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        say(f"{version} is published, {bundle.stat().st_size >> 20} MB")
        return version

    def bring(self) -> None:
        """Have the device download it."""
        self.machine.wait_until(lambda: self.is_taken("download"), START_SEC, "RAUC has come up")
        self.machine.wait_until(lambda: self.status() in ("READY", "ERROR"), INSTALL_SEC, "downloaded")
        assert self.status() == "READY", self.machine.state("fwUpdate")

    def is_taken(self, command: str) -> bool:
        """Whether it took a command of updates; RAUC may still be starting."""
        try:
            self.machine.call(f"/api/cmd/updates/{command}/", {})
        except AssertionError as exc:
            if "PART_FAILED" in str(exc):
                return False
            raise
        return True

    def ready(self) -> str:
        """The version of a bundle that was brought and not installed, as by a run that was broken off; "" for none."""
        told = self.machine.state("fwUpdate")
        return str(told["availableVer"]) if told["status"] == "READY" else ""

    def status(self) -> str:
        """How far the update is."""
        return str(self.machine.state("fwUpdate")["status"])

    def ask_to_install(self) -> None:
        """As `install`, without waiting for what becomes of it."""
        with contextlib.suppress(OSError):  # its power was cut
            while not self.is_taken("program"):
                time.sleep(1)

    def install(self) -> None:
        """Have it install what it has downloaded, until it restarts."""
        began = time.monotonic()
        answer = self.machine.call("/api/cmd/updates/program/", {})
        assert answer["status"] == "DONE", answer
        self.machine.wait_until(lambda: self.machine.version() == "", INSTALL_SEC, "restart after the installation")
        seconds = time.monotonic() - began
        self._keep(installSec=min(seconds, self._known["installSec"]))
        say(f"installed in {seconds:.0f} s")

    def wait_until_confirmed(self, version: str) -> None:
        """The new system starts, is on trial, and stays."""
        began = time.monotonic()
        self.machine.wait_for_version(version)
        told = self.machine.state("fwUpdate")
        assert told["trial"] is True or told["lastResult"] == "DONE", (told, self.machine.state("system")["errors"])
        self.machine.wait_until(lambda: not self.machine.state("fwUpdate")["trial"], TRIAL_SEC, "confirmed")
        assert self.machine.state("fwUpdate")["lastResult"] == "DONE"
        self.check_it_is_itself(version)
        say(f"{version} is confirmed {time.monotonic() - began:.0f} s after the installation")

    def fall_back_from(self, version: str) -> None:
        """Bring and install it; the version that runs now comes back by itself and says from which."""
        running = self.machine.version()
        self.bring()
        self.install()
        began = time.monotonic()
        self.machine.wait_until(lambda: self.rolled_back_from() == version, TRIAL_SEC + 600, f"back from {version}")
        told = self.machine.state("fwUpdate")
        say(f"back from {version} {time.monotonic() - began:.0f} s after the installation: {told['lastError']}")
        assert (told["lastResult"], told["trial"]) == ("ROLLED_BACK", False), told
        self.check_it_is_itself(running)

    def rolled_back_from(self) -> "str | None":
        """What it says of that, None where it does not answer."""
        try:
            return self.machine.state("fwUpdate")["rolledBackFrom"]
        except (OSError, AssertionError):
            return None

    def restart(self) -> None:
        """By its API."""
        self.machine.call("/api/cmd/reboot/", {})
        self.machine.wait_until(lambda: self.machine.version() == "", START_SEC, "restart")
        self.machine.wait_for_version()

    def check_it_is_itself(self, version: str) -> None:
        """Its version, and that settings and keys are what they were."""
        assert self.machine.version() == version
        saved = self.machine.call("/api/settings/saved/get/")
        assert saved["language"] == SETTINGS["language"], saved["language"]
        assert saved["ethernet"]["hostname"] == "pump-house", saved["ethernet"]
        identity = self.machine.call("/api/identify/")
        assert identity["pubKey"] == self._known["identity"]["pubKey"], identity


STEPS = ("first_start", "update", "broken_firmware", "broken_kernel", "power_cuts")


def serve(folder: pathlib.Path, port: int = 0) -> http.server.ThreadingHTTPServer:
    """A web server of a folder, on the loopback interface; at a free port where none is named."""
    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


class Quiet(http.server.SimpleHTTPRequestHandler):
    """It keeps no log."""

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def main() -> int:
    """Run the steps; exit code 0 where all went well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--only", nargs="+", choices=STEPS, default=STEPS)
    parser.add_argument("--folder", type=pathlib.Path)
    options = parser.parse_args()
    if packages := lacking(options.image):
        sys.exit(f"image: apt-get install --no-install-recommends {packages}")
    with tempfile.TemporaryDirectory(prefix="mc252-image-", dir="/var/tmp") as name:
        folder = options.folder or pathlib.Path(name)
        folder.mkdir(exist_ok=True)
        run = Run(options.image, folder, options.seed, options.count)
        try:
            run.go_on()
            for step in STEPS:
                if step in options.only:
                    say(f"step {step}")
                    getattr(run, step)()
            say("all went well")
            return 0
        finally:
            run.machine.kill()
            shutil.copy(run.machine.console_path, ROOT / "build/image/console.log")


if __name__ == "__main__":
    sys.exit(main())
