"""A virtual machine that starts from the image, and its API as its administrator uses it."""

import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

KINDS = {  # the end of an image's name -> what its machine is
    "amd64": {
        "program": "qemu-system-x86_64",
        "machine": ["-M", "q35"],
        "code": "/usr/share/OVMF/OVMF_CODE_4M.fd",
        "vars": "/usr/share/OVMF/OVMF_VARS_4M.fd",
        "console": ["-device", "isa-serial,chardev=console"],
        "ports": ["-device", "isa-serial"],  # ttyS1
        "packages": "qemu-system-x86 ovmf",
    },
    "arm64": {
        "program": "qemu-system-aarch64",
        "machine": ["-M", "virt", "-cpu", "cortex-a72"],
        "code": "/usr/share/AAVMF/AAVMF_CODE.fd",
        "vars": "/usr/share/AAVMF/AAVMF_VARS.fd",
        "console": ["-serial", "chardev:console"],
        "ports": ["-device", "pci-serial", "-device", "pci-serial"],  # ttyS0, ttyS1
        "packages": "qemu-system-arm qemu-efi-aarch64",
    },
}
DISK_SIZE = "3G"  # larger than the image, as a card is
SERIAL_NUMBER = "VM-252-0001"
START_SEC = 3600  # without KVM, beside other work
ANSWER_SEC = 1800  # it may stand still while others measure
HOST = "10.0.2.2"  # this side, as the machine sees it


class Machine:
    """Its disk is a layer over the image, in `folder`, and stays as it is when the machine is killed."""

    def __init__(self, image: pathlib.Path, folder: pathlib.Path):
        self._kind = kind_of(image)
        self._folder = folder
        self._disk = folder / "disk.qcow2"
        self.console_path = folder / "console.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.token = ""
        self.login: tuple[str, str] | None = None
        if not self._disk.exists():
            create = [
                "qemu-img",
                "create",
                "-q",
                "-f",
                "qcow2",
                "-F",
                "raw",
                "-b",
                str(image.resolve()),
                str(self._disk),
            ]
            subprocess.run([*create, DISK_SIZE], check=True)

    def start(self) -> None:
        """Switch it on."""
        with open(self._folder / "qemu.log", "ab") as log:
            self._process = subprocess.Popen(self._command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.token = ""

    def kill(self) -> None:
        """Cut its power: what the disk has not been told to keep is lost with the process."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def console(self) -> str:
        """All that it has said on its serial console, over all starts."""
        return self.console_path.read_text(errors="replace") if self.console_path.exists() else ""

    def _command(self) -> list[str]:
        kind = self._kind
        command = [kind["program"], *kind["machine"], "-accel", accelerator(kind["program"]), "-m", "640", "-smp", "2"]
        command += ["-display", "none", "-nodefaults", "-no-reboot", "-rtc", "base=utc"]
        command += ["-smbios", f"type=1,serial={SERIAL_NUMBER}"]
        command += ["-drive", f"if=pflash,format=raw,readonly=on,file={kind['code']}"]
        command += ["-drive", f"if=pflash,format=raw,snapshot=on,file={kind['vars']}"]
        command += ["-drive", f"if=none,id=disk,file={self._disk},format=qcow2", "-device", "virtio-blk-pci,drive=disk"]
        command += ["-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{self.port}-:80"]
        command += ["-device", "virtio-net-pci,netdev=net,romfile=", "-device", "virtio-rng-pci"]
        command += ["-chardev", f"file,id=console,path={self.console_path},append=on"]
        return [*command, *kind["console"], *kind["ports"]]

    # Its API

    def call(self, path: str, body: dict | None = None) -> dict:
        """The answer of a request, as whoever is logged in; AssertionError where it is none with status 200."""
        status, answer = self._ask(path, body)
        if status == 401:
            self._log_in()
            status, answer = self._ask(path, body)
        assert status == 200, f"{path}: {status} {answer}"
        return answer

    def state(self, key: str) -> dict:
        """One key of its state."""
        return self.call(f"/api/state/get/?{key}")[key]

    def version(self) -> str:
        """The firmware that runs, "" where nobody answers."""
        try:
            status, answer = self._ask("/api/version/", None)
        except OSError:
            return ""
        return version_text(answer["firmwareVer"]) if status == 200 else ""

    def wait_for_version(self, wanted: str | None = None, seconds: float = START_SEC) -> str:
        """Until it answers, as that firmware where one is named; which it is."""
        self.wait_until(lambda: self.version() == wanted if wanted else self.version(), seconds, f"firmware {wanted}")
        self.token = ""
        return self.version()

    def wait_until(self, condition, seconds: float, what: str) -> None:
        """Until a condition holds. AssertionError."""
        deadline = time.monotonic() + seconds
        while not condition():
            if self._process is not None and self._process.poll() is not None:
                assert self._process.returncode == 0, f"qemu has ended: {self._folder}/qemu.log"
                self.start()  # the machine restarts: as a new process, for UEFI has hung in one that was reset
            assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
            time.sleep(0.5)

    def _log_in(self) -> None:
        if self.login is None:
            found = re.search(r"login (\w+) / (\S+)", self.console())
            assert found, "the login is not shown on the console"
            self.login = (found[1], found[2])
        salt = self._ask("/api/login/salt/", None)[1]["salt"]
        digest = hashlib.sha1((self.login[0] + self.login[1] + salt).encode()).hexdigest()
        self.token = self._ask("/api/login/", {"username": self.login[0], "password": digest})[1]["token"]

    def _ask(self, path: str, body: dict | None) -> tuple[int, dict]:
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers)
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_SEC) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as exc:
            with exc:
                return exc.code, json.load(exc)


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def version_text(number: int) -> str:
    """major.minor.patch of what the API calls firmwareVer."""
    return f"{number // 10000}.{number // 100 % 100}.{number % 100}"


def kind_of(image: pathlib.Path) -> dict:
    """What the machine of an image is, by its name."""
    return KINDS[image.stem.rpartition("-")[2]]


def lacking(image: pathlib.Path) -> str:
    """Debian's packages of which something is missing here, "" where nothing is."""
    kind = kind_of(image)
    there = shutil.which(kind["program"]) and shutil.which("qemu-img") and os.path.exists(kind["code"])
    return "" if there else f"{kind['packages']} qemu-utils"


def accelerator(program: str) -> str:
    """KVM only where the processor has what it takes: the device file alone does not tell."""
    flags = pathlib.Path("/proc/cpuinfo").read_text().split()
    usable = os.access("/dev/kvm", os.W_OK) and ("vmx" in flags or "svm" in flags) and program.endswith("x86_64")
    return "kvm" if usable else "tcg"
