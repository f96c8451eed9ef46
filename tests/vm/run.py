"""Runs the tests of this folder in a virtual machine, on the hardware interfaces of a real kernel: docs/vm-tests.md.

Arguments are handed to pytest in the machine. Ends with pytest's exit code, or with 3 where the machine failed.
"""

import contextlib
import io
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import time

import image

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("MC252_VM_DIR", CHECKOUT / "build/vm"))
TIME_LIMIT = float(os.environ.get("MC252_VM_SECONDS", "900"))
NEEDED = {"debootstrap": "debootstrap", "qemu-system-x86_64": "qemu-system-x86", "mkfs.ext4": "e2fsprogs"}
CHECKED_OUT = ("firmware", "hal", "tests", "board-configs", "pyproject.toml")
SERIAL_NUMBER = "VM-252-0001"
CARD_SIZE = 64 << 20  # the size of an SD card is a power of two
UNPLUGGING_SEC = 10
CONSOLE_SHOWS = "console shows "  # and a text

# What a test may have done to the machine from outside.
ORDERS = {
    "take the card out": ("eject", {"id": "card-slot", "force": True}),
    "put the card in": ("blockdev-insert-medium", {"id": "card-slot", "node-name": "card"}),
    "plug the reader in": (
        "device_add",
        {"driver": "usb-storage", "id": "reader", "drive": "stick", "removable": True},
    ),
    "pull the reader out": ("device_del", {"id": "reader"}),
    "plug the adapter in": (
        "device_add",
        {"driver": "usb-serial", "id": "adapter", "chardev": "adapter", "serial": "FT252"},
    ),
    "pull the adapter out": ("device_del", {"id": "adapter"}),
}


def main() -> int:
    """Make the disk where it is not there, boot it, show what the tests say."""
    lacking = [package for program, package in NEEDED.items() if shutil.which(program) is None]
    if os.geteuid() != 0:
        sys.exit("vm: needs root, for debootstrap")
    if lacking:
        sys.exit(f"vm: apt-get install --no-install-recommends {' '.join(lacking)}")
    BUILD.mkdir(parents=True, exist_ok=True)
    image.make(BUILD, CHECKOUT)
    with tempfile.TemporaryDirectory(prefix="mc252-vm") as scratch:
        return Machine(pathlib.Path(scratch), sys.argv[1:]).run()


class Machine:
    """One run of the virtual machine. What it writes on its disks is gone with it."""

    def __init__(self, scratch: pathlib.Path, arguments: "list[str]"):
        self._scratch = scratch
        self._arguments = arguments
        self._console = BUILD / "console.log"
        self._code: int | None = None
        self._monitor: Monitor | None = None

    def run(self) -> int:
        """Boot, wait for the end, return the tests' exit code."""
        self._make_disks()
        began = time.monotonic()
        errors = BUILD / "qemu.log"
        with open(errors, "wb") as log:
            process = subprocess.Popen(self._command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            self._attend(process)
            process.wait(max(1.0, TIME_LIMIT - (time.monotonic() - began)))
        except OSError as exc:
            image.say(f"the machine cannot be attended: {exc}")
        except subprocess.TimeoutExpired:
            image.say(f"the machine did not come to an end within {TIME_LIMIT:.0f} s")
        finally:
            process.kill()
            process.wait()
        image.say(f"{time.monotonic() - began:.0f} s in the machine")
        if self._code is None:
            image.say(f"no result; see {self._console} and {errors}")
        return 3 if self._code is None else self._code

    def _make_disks(self) -> None:
        for name in ("card.img", "stick.img"):
            with open(self._scratch / name, "wb") as file:
                file.truncate(CARD_SIZE)
        with tarfile.open(self._scratch / "checkout.tar", "w") as archive:
            for name in CHECKED_OUT:
                archive.add(CHECKOUT / name, name, filter=_without_caches)
            package = image.run(CHECKOUT / "deploy/make-deb", self._scratch).splitlines()[-1]
            archive.add(package, "mc252-firmware.deb")
            _add_text(archive, "pytest-arguments.json", json.dumps(self._arguments))

    def _command(self) -> "list[str]":
        """qemu and the machine: a serial number, a clock, four UARTs of which two are joined, a slot for SD cards."""
        scratch = self._scratch
        command = ["qemu-system-x86_64", "-M", f"q35,accel={_accelerator()}", "-m", "1024", "-smp", "2"]
        command += ["-display", "none", "-nodefaults", "-rtc", "base=utc", "-smbios", f"type=1,serial={SERIAL_NUMBER}"]
        command += ["-kernel", str(BUILD / "vmlinuz"), "-initrd", str(BUILD / "initramfs")]
        command += ["-append", "console=ttyS0 quiet panic=-1 net.ifnames=0 mitigations=off"]
        for name, disk in (("root", BUILD / "root.img"), ("checkout", scratch / "checkout.tar")):
            command += ["-drive", f"if=none,id={name},file={disk},format=raw,snapshot=on"]
            command += ["-device", f"virtio-blk-pci,drive={name},serial={name}"]
        command += ["-netdev", "user,id=net,restrict=on", "-device", "virtio-net-pci,netdev=net"]
        # The console, and the RS-485 line between ttyS1 and ttyS2.
        command += ["-chardev", f"file,id=console,path={self._console}", "-device", "isa-serial,chardev=console"]
        command += self._pair("one", "other") + ["-device", "isa-serial,chardev=one"]
        command += ["-device", "isa-serial,chardev=other"]
        # A USB adapter and ttyS3.
        command += self._pair("adapter", "far") + ["-device", "isa-serial,chardev=far"]
        command += ["-device", "qemu-xhci"]
        for name in ("card", "stick"):
            command += ["-blockdev", f"driver=file,node-name={name},filename={scratch / name}.img"]
        command += ["-device", "sdhci-pci", "-device", "sd-card,id=card-slot,drive=card"]
        command += ["-device", "virtio-serial"]
        for name in ("tests", "rig"):
            command += ["-chardev", f"socket,id={name},path={scratch / name},server=on,wait=off"]
            command += ["-device", f"virtserialport,chardev={name},name={name}"]
        command += ["-chardev", f"socket,id=monitor,path={scratch / 'monitor'},server=on,wait=off"]
        return [*command, "-mon", "chardev=monitor,mode=control"]

    def _pair(self, one: str, other: str) -> "list[str]":
        path = self._scratch / f"{one}-{other}"
        listener = ["-chardev", f"socket,id={one},path={path},server=on,wait=off"]
        return [*listener, "-chardev", f"socket,id={other},path={path}"]

    def _attend(self, process: subprocess.Popen) -> None:
        sockets = {name: _connect(self._scratch / name, process) for name in ("monitor", "tests", "rig")}
        self._monitor = Monitor(sockets["monitor"])
        for name, work in (("tests", self._show), ("rig", self._obey)):
            threading.Thread(target=self._until_gone, args=(work, sockets[name]), daemon=True).start()

    def _until_gone(self, work, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):  # qemu has ended
            work(sock)

    def _show(self, sock: socket.socket) -> None:
        while data := sock.recv(4096):
            sys.stdout.write(data.decode(errors="replace").replace("\r", ""))
            sys.stdout.flush()

    def _obey(self, sock: socket.socket) -> None:
        """Each line is an order, each answer a line: "ok", or what went wrong."""
        with sock.makefile("rw", encoding="utf-8") as lines:
            for line in lines:
                word, _, rest = line.strip().partition(" ")
                if word == "exit":
                    self._code = int(rest)
                    answer = "ok"
                else:
                    answer = self._order(line.strip())
                lines.write(answer + "\n")
                lines.flush()

    def _order(self, order: str) -> str:
        assert self._monitor is not None
        if order.startswith(CONSOLE_SHOWS):
            found = order.removeprefix(CONSOLE_SHOWS) in self._console.read_text(errors="replace")
            return "ok" if found else "it does not"
        if order not in ORDERS:
            return f"no such order: {order}"
        command, arguments = ORDERS[order]
        deadline = time.monotonic() + UNPLUGGING_SEC
        while True:
            answer = self._monitor.execute(command, arguments)
            if answer == "ok" or command != "device_add" or time.monotonic() > deadline:
                return answer
            time.sleep(0.1)  # qemu lets go of what was unplugged a little later


class Monitor:
    """qemu's own control socket (QMP)."""

    def __init__(self, sock: socket.socket):
        self._lines = sock.makefile("rw", encoding="utf-8")
        self._lines.readline()
        self.execute("qmp_capabilities", {})

    def execute(self, command: str, arguments: dict) -> str:
        """ "ok", or qemu's complaint."""
        self._lines.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self._lines.flush()
        for line in self._lines:
            answer = json.loads(line)
            if "return" in answer:
                return "ok"
            if "error" in answer:
                return str(answer["error"]["desc"])
        return "qemu is gone"


def _accelerator() -> str:
    """KVM only where the processor has what it takes: the device file alone does not tell."""
    flags = pathlib.Path("/proc/cpuinfo").read_text().split()
    usable = os.access("/dev/kvm", os.W_OK) and ("vmx" in flags or "svm" in flags)
    return "kvm" if usable else "tcg"


def _connect(path: pathlib.Path, process: subprocess.Popen) -> socket.socket:
    deadline = time.monotonic() + 10
    sock = socket.socket(socket.AF_UNIX)
    while True:
        try:
            sock.connect(str(path))
            return sock
        except OSError:
            if time.monotonic() > deadline or process.poll() is not None:
                raise
            time.sleep(0.05)


def _without_caches(member: tarfile.TarInfo) -> "tarfile.TarInfo | None":
    return None if os.path.basename(member.name) == "__pycache__" else member


def _add_text(archive: tarfile.TarFile, name: str, text: str) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(text.encode())
    archive.addfile(member, io.BytesIO(text.encode()))


if __name__ == "__main__":
    sys.exit(main())
