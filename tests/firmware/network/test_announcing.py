"""A device that is found on its network, by Avahi and without it: two hosts on a cable, in namespaces of their own."""

import json
import os
import shutil
import subprocess
import sys
import time

import pytest

from firmware import VERSION
from tests.firmware.running import BOARD, Running
from tests.hal.update.rauc_rig import BUS

pytest.importorskip("zeroconf")
pytestmark = pytest.mark.skipif(os.geteuid() != 0 or shutil.which("ip") is None, reason="needs root and iproute2")

# what a computer at the other end finds: waits for both services, then asks for the host's address
SEEK = """
import json, socket, sys, time
from zeroconf import IPVersion, ServiceBrowser, Zeroconf
zeroconf = Zeroconf(interfaces=["192.0.2.2"], ip_version=IPVersion.V4Only)
found = {}
class Listener:
    def add_service(self, zeroconf, type_, name):
        info = zeroconf.get_service_info(type_, name, 5000)
        if info is not None:
            about = {key.decode(): value.decode() for key, value in info.properties.items()}
            found[type_] = [name, info.server, info.parsed_addresses(), info.port, about]
    update_service = remove_service = add_service
browser = ServiceBrowser(zeroconf, ["_http._tcp.local.", "_modbus._tcp.local."], Listener())
end = time.monotonic() + 30
while len(found) < 2 and time.monotonic() < end:
    time.sleep(0.1)
print(json.dumps(found))
"""


def run(*words):
    subprocess.run(words, check=True, capture_output=True, timeout=20)


class Cable:
    """Two network namespaces and what runs in them: `device` at 192.0.2.1, `computer` at 192.0.2.2."""

    def __init__(self, folder):
        self.folder = folder
        self.device, self.computer = f"mc252-device-{os.getpid()}", f"mc252-computer-{os.getpid()}"
        self._processes = []

    def __enter__(self):
        run("ip", "netns", "add", self.device)
        run("ip", "netns", "add", self.computer)
        run("ip", "-n", self.device, "link", "add", "eth0", "type", "veth", "peer", "eth0", "netns", self.computer)
        for number, name in ((1, self.device), (2, self.computer)):
            run("ip", "-n", name, "address", "add", f"192.0.2.{number}/24", "dev", "eth0")
            run("ip", "-n", name, "link", "set", "lo", "up")
            run("ip", "-n", name, "link", "set", "eth0", "up")
        return self

    def __exit__(self, *exc):
        for process in reversed(self._processes):
            process.kill()
            process.communicate()
        for name in (self.device, self.computer):
            run("ip", "netns", "delete", name)

    def start(self, name, *words, **more):
        """Start a program on a host."""
        process = subprocess.Popen(["ip", "netns", "exec", name, *words], stdin=-1, stdout=-1, text=True, **more)
        self._processes.append(process)
        return process

    def start_bus_and_avahi(self):
        """Avahi on a D-Bus of its own, as the device's system has them; the bus's address."""
        address = f"unix:path={self.folder}/bus"
        (self.folder / "bus.conf").write_text(BUS.format(folder=self.folder))
        self.start(self.device, "dbus-daemon", "--nofork", f"--config-file={self.folder}/bus.conf", stderr=-3)
        while not (self.folder / "bus").exists():
            time.sleep(0.01)
        self.start_avahi(self.device, "machine", dict(os.environ, DBUS_SYSTEM_BUS_ADDRESS=address))
        return address

    def start_avahi(self, where, name, environment=None):
        """Have a host answer to NAME.local by its own Avahi."""
        dbus = "no" if environment is None else "yes"
        path = self.folder / f"{name}.conf"
        path.write_text(f"[server]\nhost-name={name}\nuse-ipv6=no\nallow-interfaces=eth0\nenable-dbus={dbus}\n")
        daemon = f"exec avahi-daemon --no-drop-root --no-chroot --no-rlimits -f {path}"
        script = f"mount -t tmpfs none /run && mkdir /run/avahi-daemon && {daemon}"
        said = self.start(where, "unshare", "-m", "sh", "-c", script, env=environment, stderr=-1).stderr
        for line in said:
            if "startup complete" in line:
                return

    def seek(self):
        """What the computer finds: type -> [instance, host, addresses, port, about]."""
        return json.loads(self.start(self.computer, sys.executable, "-c", SEEK).communicate(timeout=60)[0])


@pytest.fixture
def cable(tmp_path):
    with Cable(tmp_path) as made:
        yield made


def device(cable, bus, **httpd):
    """A device on the cable, whose D-Bus has that address."""
    board = dict(BOARD, network={"driver": "linux", "interface": "eth0"}, settings={"httpd": httpd} if httpd else {})
    prefix = ["ip", "netns", "exec", cable.device, "env", f"DBUS_SYSTEM_BUS_ADDRESS={bus}"]
    folder = cable.folder / "state"
    folder.mkdir()
    return Running(folder, board, http="0.0.0.0:8080", modbus_tcp="0.0.0.0:5020", prefix=prefix)


def expect(found, host="mc252"):
    about = {"model": "MC252", "version": VERSION}
    name = found["_http._tcp.local."][0].partition(".")[0]
    assert name.startswith("MC252 ")
    for type_, port in (("_http._tcp.local.", 8080), ("_modbus._tcp.local.", 5020)):
        assert found[type_] == [f"{name}.{type_}", f"{host}.local.", ["192.0.2.1"], port, about]
    return name


@pytest.mark.skipif(shutil.which("avahi-daemon") is None, reason="needs Debian's avahi-daemon")
def test_avahi_announces_the_device_where_it_runs(cable):
    with device(cable, cable.start_bus_and_avahi()):
        expect(cable.seek())


@pytest.mark.skipif(shutil.which("avahi-daemon") is None, reason="needs Debian's avahi-daemon")
def test_a_name_that_another_host_has_is_not_taken_from_it(cable):
    cable.start_avahi(cable.computer, "mc252")
    with device(cable, cable.start_bus_and_avahi()) as running:
        found = cable.seek()
        name = found["_modbus._tcp.local."][0].partition(".")[0]
        assert found["_modbus._tcp.local."][1] == f"mc252-{name.split()[1]}.local."
        assert running.process.poll() is None


def test_without_avahi_the_device_answers_by_itself(cable):
    with device(cable, "unix:path=/nonexistent"):
        expect(cable.seek())


def test_a_device_that_is_not_to_be_found_says_nothing(cable):
    with device(cable, "unix:path=/nonexistent", mdns=False):
        seek = cable.start(cable.computer, sys.executable, "-c", SEEK.replace("+ 30", "+ 3"))
        assert json.loads(seek.communicate(timeout=60)[0]) == {}
