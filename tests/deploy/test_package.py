"""The Debian package in a Debian of its own: installed, started as its unit says, updated, taken away."""

import configparser
import json
import os
import pathlib
import signal
import socket
import subprocess

import pytest

from tests.deploy.machines import NEEDS_MACHINE, run
from tests.test_documents import links

ROOT = pathlib.Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
# The board's own system and clock on this machine, and a serial line that needs no hardware.
BOARD = {
    "board": "test",
    "system": {"driver": "linux"},
    "network": {"driver": "linux", "interface": "lo"},
    "rs485": {"driver": "simulated"},
    "card": None,
    "clock": {"driver": "linux", "setBy": "firmware"},
    "modem": None,
    "button": {"driver": "simulated"},
}

CONSOLE = """
import gzip, urllib.request

def get(path):
    request = urllib.request.Request("http://127.0.0.1" + path, headers={"Accept-Encoding": "gzip"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return gzip.decompress(answer.read()).decode()

print(get("/"))
paths = [line.split()[0] for line in open("/usr/lib/mc252/firmware/web/site/files.txt") if line.startswith("/console/")]
assert len(paths) > 10
for path in paths:
    assert get(path), path
"""

pytestmark = NEEDS_MACHINE


@pytest.fixture
def board(machine):
    """A board config that runs here."""
    (machine.shared / "board.json").write_text(json.dumps(BOARD))
    return "/opt/test/board.json"


def password_in(output):
    return output.partition("login admin / ")[2].split()[0]


# The service


def unit():
    """The [Service] section of the unit; of a key that is there several times the last one."""
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str
    parser.read_string((DEPLOY / "mc252.service").read_text())
    return parser["Service"]


class Service:
    """What the unit starts, with the user and the capabilities that it gives, and a service manager that listens."""

    def __init__(self, machine):
        service = unit()
        capabilities = ",".join(
            "+" + name.removeprefix("CAP_").lower() for name in service["AmbientCapabilities"].split()
        )
        bounds = ",".join("+" + name.removeprefix("CAP_").lower() for name in service["CapabilityBoundingSet"].split())
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.settimeout(8)
        path = machine.shared / "notify"
        path.unlink(missing_ok=True)
        self.socket.bind(str(path))
        path.chmod(0o777)
        command = ["setpriv", f"--reuid={service['User']}", f"--regid={service['Group']}", "--clear-groups"]
        command += ["--no-new-privs", f"--inh-caps=-all,{capabilities}", f"--ambient-caps=-all,{capabilities}"]
        command += [f"--bounding-set=-all,{bounds}", "--", *service["ExecStart"].split()]
        self.output = None
        notify = {"NOTIFY_SOCKET": "/opt/test/notify", "WATCHDOG_USEC": "1000000"}
        self.process = subprocess.Popen(
            machine.command(*command, **notify),
            cwd="/",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stop()
        self.socket.close()

    def heard(self):
        """The next word to the service manager."""
        try:
            return self.socket.recv(4096).decode()
        except TimeoutError:
            pytest.fail(f"nothing is heard; exit code and output: {self.stop()}")

    def stop(self):
        """(exit code, output) after SIGTERM, unless it has ended by itself."""
        if self.process.poll() is None:
            children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
            os.kill(int(children.split()[0]), signal.SIGTERM)  # the firmware; nsenter waits for it
        if self.output is None:
            self.output, _ = self.process.communicate(timeout=30)
        return self.process.returncode, self.output


def test_a_new_device_shows_its_login_and_serves_as_its_unit_says(machine, board):
    done = machine.install("--board", board)
    assert done.returncode == 0, done.stderr
    password = password_in(done.stdout)
    with Service(machine) as service:
        assert service.heard() == "READY=1"
        version, state = machine.call(password, "/api/version/", "/api/state/get/")
        assert version["device"] == "MC252" and state
        reach = "import socket; socket.create_connection(('127.0.0.1', 502), 10).close()"
        assert machine.run("python3", "-c", reach).returncode == 0
        shown = machine.run("python3", "-c", CONSOLE)
        assert shown.returncode == 0 and "<title>MC252</title>" in shown.stdout, shown.stderr + shown.stdout
        assert service.heard() == "WATCHDOG=1"
        code, output = service.stop()
    assert code == 0, output
    assert password not in output
    assert machine.sh("stat -c '%U %a' /var/lib/mc252 /var/lib/mc252/factory-login").split() == [
        "mc252",
        "700",
        "mc252",
        "600",
    ]
    logs = machine.run("grep", "-rlF", password, "/var", "/etc", "/tmp", "/usr/lib/mc252").stdout.split()
    assert logs == ["/var/lib/mc252/factory-login"]


def test_the_firmware_needs_no_writing_to_its_own_folder(machine, board):
    machine.install("--board", board)
    made = "find /usr/lib/mc252 -name '*.py' | while read f; do d=${f%/*}; b=${f##*/}; "
    made += "[ -e $d/__pycache__/${b%.py}.cpython-3*.pyc ] || echo $f; done"
    assert machine.sh(made) == ""


def test_a_wrong_board_config_ends_with_one_line_and_systemd_tries_again(machine, board):
    machine.install("--board", board)
    machine.sh("""echo '{"board": "x", "system": {"driver": "none"}}' >/etc/mc252/board.json""")
    with Service(machine) as service:
        service.process.wait(timeout=30)
        code, output = service.stop()
    assert code == 2
    assert unit()["Restart"] == "always" and "RestartPreventExitStatus" not in unit()
    assert len(output.splitlines()) == 1 and "system.driver" in output


# Updating and taking away


def test_an_update_keeps_settings_login_and_board(machine, board):
    password = password_in(machine.install("--board", board).stdout)
    with Service(machine) as service:
        assert service.heard() == "READY=1"
    machine.sh("echo kept >/var/lib/mc252/mark; echo >>/etc/mc252/board.json")
    before = machine.sh("cat /etc/mc252/board.json")
    done = machine.install()
    assert done.returncode == 0, done.stderr
    assert "login" not in done.stdout
    assert machine.sh("cat /var/lib/mc252/mark /etc/mc252/board.json") == "kept\n" + before
    with Service(machine) as service:
        assert service.heard() == "READY=1"
        machine.call(password, "/api/state/get/")


def files_of_ours(machine):
    skip = "-path /opt -o -path /proc -o -path /dev -o -path /usr/share/doc -o -path /run"
    return machine.sh(rf"find / \( {skip} \) -prune -o -name '*mc252*' -print").split()


def test_uninstalling_keeps_the_settings_and_purging_nothing(machine, board):
    password = password_in(machine.install("--board", board).stdout)
    assert machine.install("--uninstall").returncode == 0
    assert machine.run("test", "-e", "/usr/lib/mc252").returncode != 0
    assert machine.sh("ls /etc/mc252 /var/lib/mc252").split() == [
        "/etc/mc252:", "board.json", "/var/lib/mc252:", "factory-login",
    ]  # fmt: skip
    again = machine.install()
    assert again.returncode == 0 and password not in again.stdout and "login" not in again.stdout
    assert machine.install("--purge").returncode == 0
    assert files_of_ours(machine) == []
    assert machine.install("--purge").returncode == 0
    assert machine.sh("id -un mc252") == "mc252\n"


# The board config


def linked(machine):
    return machine.sh("find /etc/systemd/network -name '10-mc252-*' | sort").split()


def test_networkd_is_led_to_the_firmwares_files_where_the_firmware_runs_the_network(machine):
    machine.install()
    assert json.loads(machine.sh("cat /etc/mc252/board.json"))["board"] == "raspberry-pi"
    assert linked(machine) == []
    assert machine.sh("stat -c '%U %G %a' /var/lib/mc252-network") == "mc252 systemd-network 2750\n"
    assert machine.install("--board", "mc252").returncode == 0
    assert [name.rpartition("-")[2] for name in linked(machine)] == [
        "ethernet.network",
        "wgmanual.netdev",
        "wgmanual.network",
    ]
    machine.sh("cp /usr/share/mc252/board-configs/raspberry-pi.json /etc/mc252/board.json")
    machine.sh("/usr/libexec/mc252/link-network")
    assert linked(machine) == []
    machine.sh("cp /usr/share/mc252/board-configs/mc252.json /etc/mc252/board.json")
    machine.sh("/usr/libexec/mc252/link-network")
    assert len(linked(machine)) == 3
    machine.install("--purge")
    assert linked(machine) == []


def test_an_edited_board_config_is_never_overwritten(machine):
    machine.install("--board", "simulated")
    machine.sh("echo >>/etc/mc252/board.json")
    before = machine.sh("cat /etc/mc252/board.json")
    done = machine.install("--board", "raspberry-pi")
    assert done.returncode == 2 and "was edited" in done.stderr
    assert machine.sh("cat /etc/mc252/board.json") == before


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--board", "none"], "--board none: neither a board of the package nor a file"),
        (["--board", "/etc/hostname"], "--board /etc/hostname: is no JSON"),
        (["--board"], "--board needs a name or a file"),
        (["--purge", "--board", "mc252"], "--board is for installing"),
        (["--now"], "--now is no option; see --help"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(machine, options, reason):
    done = machine.install(*options)
    assert (done.returncode, done.stderr, done.stdout) == (2, f"install.sh: {reason}\n", "")
    assert files_of_ours(machine) == []


def test_somebody_who_is_not_root_is_refused(machine):
    done = machine.run("setpriv", "--reuid=65534", "--", "/opt/deploy/install.sh")
    assert (done.returncode, done.stderr) == (2, "install.sh: must be run as root: sudo /opt/deploy/install.sh\n")


def test_apt_by_itself_writes_no_password_into_its_log(machine):
    done = machine.run("sh", "-c", "apt-get -q -y install /opt/deploy/*.deb", DEBIAN_FRONTEND="noninteractive")
    assert done.returncode == 0, done.stderr
    assert "login admin" not in done.stdout and "shown on its console" in done.stdout
    assert machine.sh("ls /var/lib/mc252") == ""
    assert machine.sh("grep -c . /var/log/apt/term.log").strip() != "0"
    provision = (DEPLOY / "mc252-provision.service").read_text()
    command = next(line for line in provision.splitlines() if line.startswith("ExecStart=")).partition("=")[2]
    first = machine.run("setpriv", "--reuid=mc252", "--regid=mc252", "--clear-groups", *command.split())
    assert first.stdout.startswith("login admin / ") and first.returncode == 0
    again = machine.run("setpriv", "--reuid=mc252", "--regid=mc252", "--clear-groups", *command.split())
    assert (again.returncode, again.stdout) == (0, "")


def test_links_between_the_pages_of_the_package_hold(package, tmp_path):
    run("dpkg-deb", "-x", package, tmp_path)
    doc = tmp_path / "usr" / "share" / "doc" / "mc252-firmware"
    pages = list(doc.rglob("*.md"))
    assert len(pages) > 10
    for page in pages:
        for target in links(page):
            if target.startswith(("../board-configs", "../tests", "board-configs", "tests", "firmware", "../firmware")):
                continue  # the code is elsewhere in the package
            assert (page.parent / target).exists(), f"{page.relative_to(doc)}: {target}"
    assert (tmp_path / "usr" / "share" / "man" / "man8" / "mc252.8.gz").exists()
