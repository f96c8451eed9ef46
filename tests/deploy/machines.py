"""A Debian in namespaces of its own: without a network but with a loopback, with or without systemd in it."""

import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
import time

import pytest

ROOT = pathlib.Path(__file__).parents[2]
INSTALLER = ROOT / "deploy" / "install.sh"
SUITE = platform.freedesktop_os_release().get("VERSION_CODENAME", "stable")  # the package is for this one's Python
CACHE = ROOT / "build" / f"debian-{SUITE}.tar"  # it takes 20 s to make
MIRROR = "http://deb.debian.org/debian"
PACKAGES = "python3,systemd,dbus,polkitd"
CGROUPS = [pathlib.Path("/sys/fs/cgroup", name) for name in ("systemd", "unified", "devices")]

PROGRAMS = ["mmdebstrap", "dpkg-deb", "unshare", "nsenter", "pivot_root", "setpriv", "ip"]
_missing = [name for name in PROGRAMS if shutil.which(name) is None]
NEEDS_MACHINE = pytest.mark.skipif(
    os.geteuid() != 0 or bool(_missing), reason=f"needs root, a Debian, and {', '.join(_missing or PROGRAMS)}"
)

_compiles = os.path.realpath("/usr/bin/python3").endswith("python{}.{}".format(*sys.version_info))
NEEDS_DEBIANS_PYTHON = pytest.mark.skipif(not _compiles, reason="compiles modules for the Python that Debian has")

PREPARE = r"""
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$FOLDER"
mkdir "$FOLDER/changes" "$FOLDER/work" "$FOLDER/root"
root=$FOLDER/root
mount -t overlay overlay -o "lowerdir=$DEBIAN,upperdir=$FOLDER/changes,workdir=$FOLDER/work" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for node in null:3 zero:5 full:7 random:8 urandom:9; do mknod -m 666 "$root/dev/${node%:*}" c 1 "${node#*:}"; done
mknod -m 666 "$root/dev/tty" c 5 0
mkdir "$root/dev/pts"
mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
touch "$root/dev/console"
mkdir "$root/opt/deploy" "$root/opt/test" "$root/old"
mount --bind "$SHARED" "$root/opt/test"
cp "$INSTALLER" "$PACKAGE" "$root/opt/deploy"
echo 'APT::Install-Recommends "0";' >"$root/etc/apt/apt.conf.d/90test"
ip link set lo up
"""

STAY = r"""
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
cd "$root"
pivot_root . old
umount -l /old
echo ready
exec cat
"""

BOOT = r"""
mount -t tmpfs -o mode=755 tmpfs "$root/sys/fs/cgroup"
mkdir "$root/sys/fs/cgroup/systemd" "$root/sys/fs/cgroup/unified" "$root/sys/fs/cgroup/devices"
mount -t cgroup -o none,name=systemd cgroup "$root/sys/fs/cgroup/systemd"
mount -t cgroup2 cgroup "$root/sys/fs/cgroup/unified"
mount -t cgroup -o devices cgroup "$root/sys/fs/cgroup/devices"
cd "$root"
pivot_root . old
mount --make-rshared /
umount -l /old
export container=lxc
exec /lib/systemd/systemd systemd.unit=multi-user.target >/dev/null
"""

CLIENT = r"""
import hashlib, json, sys, urllib.request

def call(path, body=None, token=""):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request("http://127.0.0.1" + path, data, {"Authorization": "Bearer " + token})
    return json.load(urllib.request.urlopen(request, timeout=20))

salt = call("/api/login/salt/")["salt"]
digest = hashlib.sha1(("admin" + sys.argv[1] + salt).encode()).hexdigest()
token = call("/api/login/", {"username": "admin", "password": digest})["token"]
print(json.dumps([call(path, {} if "/cmd/" in path else None, token) for path in sys.argv[2:]]))
"""


def run(*command, timeout=300, **options):
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, **options)


def unpack_debian(folder):
    """A small Debian in a folder; the reason why there can be none, else None."""
    if not CACHE.exists():
        CACHE.parent.mkdir(exist_ok=True)
        new = CACHE.with_suffix(f".{os.getpid()}.tar")
        done = run("mmdebstrap", "--quiet", "--variant=apt", f"--include={PACKAGES}", SUITE, new, MIRROR)
        if done.returncode != 0:
            new.unlink(missing_ok=True)
            return f"mmdebstrap fails here: {done.stderr.strip().splitlines()[-1]}"
        new.replace(CACHE)
    assert run("tar", "-x", "-f", CACHE, "-C", folder).returncode == 0
    return None


class Machine:
    """What is in `shared` both sides see, as /opt/test in the machine; what else is changed in it goes with it."""

    start = STAY

    def __init__(self, debian, package):
        self._folder = pathlib.Path(tempfile.mkdtemp(prefix="mc252-"))
        self.shared = pathlib.Path(tempfile.mkdtemp(prefix="mc252-"))
        self.shared.chmod(0o755)
        places = {"FOLDER": self._folder, "SHARED": self.shared, "DEBIAN": debian, "PACKAGE": package}
        self._keeper = subprocess.Popen(
            [*self._outside(), "unshare", "--mount", "--net", "--pid", "--uts", "--ipc", "--cgroup", "--fork"]
            + ["--kill-child", "sh", "-c", PREPARE + self.start],
            env=dict(os.environ, INSTALLER=str(INSTALLER), **{name: str(path) for name, path in places.items()}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.ready = self._is_ready()

    def _outside(self):
        return []

    def _is_ready(self):
        return self._keeper.stdout.readline() == "ready\n"

    def close(self):
        """End all that runs in it, at once."""
        self._keeper.kill()
        _, self.complaint = self._keeper.communicate(timeout=30)
        shutil.rmtree(self._folder)
        shutil.rmtree(self.shared)

    def command(self, *words, **environment):
        """The command that runs a command in the machine, as root."""
        child = pathlib.Path(f"/proc/{self._keeper.pid}/task/{self._keeper.pid}/children").read_text().strip()
        path = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"
        enter = ["nsenter", "-t", child, "-m", "-n", "-p", "-u", "-i", "-C"]
        return [*enter, "env", "-i", path, *[f"{k}={v}" for k, v in environment.items()], *map(str, words)]

    def run(self, *words, **environment):
        return run(*self.command(*words, **environment), cwd="/")

    def sh(self, script):
        """Output of a script that must succeed."""
        done = self.run("sh", "-ec", script)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def as_firmware(self, *words):
        """Run a command as the user of the firmware."""
        return self.run("setpriv", "--reuid=mc252", "--regid=mc252", "--clear-groups", *words)

    def call(self, password, *paths):
        """Answers of the API to somebody who has logged in with the password."""
        done = self.run("python3", "-c", CLIENT, password, *paths)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def install(self, *options):
        return self.run("/opt/deploy/install.sh", *options)


class BootedMachine(Machine):
    """One with systemd as its first process."""

    start = BOOT

    def _outside(self):
        """Puts what follows in control groups of its own."""
        self._groups = [folder / f"mc252-test-{os.getpid()}" for folder in CGROUPS if folder.is_dir()]
        for group in self._groups:
            group.mkdir()
        into = "".join(f"echo $$ >{group}/cgroup.procs; " for group in self._groups)
        return ["sh", "-c", into + 'exec "$@"', "sh"]

    def _is_ready(self):
        deadline = time.monotonic() + 40
        while len(self._groups) == len(CGROUPS) and self._keeper.poll() is None and time.monotonic() < deadline:
            children = pathlib.Path(f"/proc/{self._keeper.pid}/task/{self._keeper.pid}/children").read_text()
            if children and self.run("systemctl", "is-system-running").stdout.strip() in ("running", "degraded"):
                return True
            time.sleep(0.1)
        return False

    def close(self):
        super().close()
        for group in self._groups:
            for folder, _, _ in os.walk(group, topdown=False):
                _remove_group(folder)


def _remove_group(folder):
    deadline = time.monotonic() + 10
    while True:  # until the last process in it is gone
        try:
            return os.rmdir(folder)
        except OSError:
            assert time.monotonic() < deadline, folder
            time.sleep(0.02)
