"""Makes the virtual machine's disk: Debian 12 with its own kernel, and what the tests need. About two minutes, once."""

import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tomllib

SUITE = "bookworm"
MIRROR = "http://deb.debian.org/debian"
SECURITY = "http://deb.debian.org/debian-security"
DISK_SIZE = "4G"  # sparse

PACKAGES = (
    "busybox-static,dbus,dosfstools,fdisk,iproute2,iputils-ping,kmod,libpam-systemd,polkitd,python3,python3-libgpiod,systemd-sysv,"
    "udev,util-linux,util-linux-extra,wireguard-tools"
)
BUILD_PACKAGES = ("gcc-12", "make")  # taken away again

# Loaded in this order before the root file system is there: modules that nobody asks for by an alias come first.
EARLY_MODULES = ("crc32c_generic", "virtio_pci", "virtio_blk", "ext4")

TEST_PACKAGES = ("pytest", "pytest-asyncio")  # of the project's `dev` requirements
SITE = "opt/site"  # where the tests' Python packages lie in the machine

INIT = """#!/bin/busybox sh
set -e
/bin/busybox mkdir -p /dev /proc /new
/bin/busybox mount -t devtmpfs devtmpfs /dev
for name in {modules}; do /bin/busybox insmod /modules/$name; done
for try in 1 2 3 4 5 6 7 8 9 10; do [ -b /dev/vda ] && break; /bin/busybox sleep 0.5; done
/bin/busybox mount -t ext4 /dev/vda /new
/bin/busybox mount -o move /dev /new/dev
exec /bin/busybox switch_root /new /sbin/init
"""

UNIT = """[Unit]
Description=Tests of the MC252 firmware
After=multi-user.target systemd-udev-settle.service
Wants=systemd-udev-settle.service

[Service]
Type=oneshot
ExecStart=/opt/start
StandardOutput=file:/dev/virtio-ports/tests
StandardError=file:/dev/virtio-ports/tests

[Install]
WantedBy=default.target
"""

# The checkout comes as a tar archive on a disk of its own, anew in each run.
START = """#!/bin/sh
if [ ! -d /opt/checkout ]; then
    mkdir /opt/checkout
    tar -x -C /opt/checkout -f /dev/disk/by-id/virtio-checkout
fi
cd /opt/checkout
PYTHONPATH=/{site} exec python3 tests/vm/guest/start.py
"""

GPIO_SIM_MAKEFILE = "obj-m := gpio-simulator.o\ngpio-simulator-y := gpio-sim.o irq_sim.o\n"
IRQ_SIM_CALL = ("handle_simple_irq(irq_to_desc(irqnum))", "generic_handle_irq(irqnum)")


def say(text: str) -> None:
    """One line about what is going on."""
    print(f"vm: {text}", flush=True)


def run(*command: "str | os.PathLike[str]", **options) -> str:
    """Run a command and return what it prints; its complaints are shown where it fails."""
    words = [os.fspath(word) for word in command]
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode != 0:
        sys.exit(f"vm: {' '.join(words)} failed:\n{done.stdout[-4000:]}")
    return done.stdout


def requirements(checkout: pathlib.Path) -> "list[str]":
    """What the firmware needs on Linux, and what its tests in the machine need."""
    project = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    tests = [line for line in extras["dev"] if re.match(r"[\w-]+", line)[0] in TEST_PACKAGES]
    return [*project["dependencies"], *extras["linux"], *tests]


def make(folder: pathlib.Path, checkout: pathlib.Path) -> None:
    """Put `root.img`, `vmlinuz` and `initramfs` into the folder, unless they are there and were made in this way."""
    wanted = requirements(checkout)
    recipe = hashlib.sha256(pathlib.Path(__file__).read_bytes() + repr(wanted).encode()).hexdigest()
    stamp = folder / "made-by"
    if stamp.exists() and stamp.read_text() == recipe:
        return
    stamp.unlink(missing_ok=True)
    root = folder / "root"
    if os.path.ismount(root / "proc"):  # left by a run that was killed
        run("umount", root / "proc")
    shutil.rmtree(root, ignore_errors=True)
    say(f"debootstrap of Debian {SUITE}")
    run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, root, MIRROR)
    kernel = _add_kernel(folder, root)
    say("the module gpio-sim, which Debian's kernel is built without")
    _add_gpio_sim(root, kernel)
    run("chroot", root, "depmod", kernel)
    _add_site(root, wanted)
    _set_up(root)
    _make_initramfs(folder / "initramfs", root, kernel)
    say("the disk")
    (folder / "root.img").unlink(missing_ok=True)
    run("mkfs.ext4", "-q", "-L", "root", "-d", root, folder / "root.img", DISK_SIZE)
    shutil.rmtree(root)
    stamp.write_text(recipe)


def _apt(root: pathlib.Path, *words: str, folder: str = "/") -> str:
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive", LC_ALL="C")
    return run("chroot", root, "sh", "-c", f'cd {folder} && exec apt-get -q "$@"', "sh", *words, env=environment)


def _add_kernel(folder: pathlib.Path, root: pathlib.Path) -> str:
    """Unpack Debian's current kernel; its release. Nothing is installed: that would build an initramfs of its own."""
    say("Debian's kernel")
    (root / "etc/apt/sources.list").write_text(f"deb {MIRROR} {SUITE} main\ndeb {SECURITY} {SUITE}-security main\n")
    _apt(root, "update")
    listed = run("chroot", root, "apt-cache", "depends", "linux-image-amd64")
    package = re.search(r"Depends: (linux-image-\S+)", listed)[1]
    (root / "opt/debs").mkdir()
    _apt(root, "download", package, folder="/opt/debs")
    unpacked = _unpack(root)
    release = package.removeprefix("linux-image-")
    shutil.copy(unpacked / f"boot/vmlinuz-{release}", folder / "vmlinuz")
    shutil.move(unpacked / "lib/modules", root / "usr/lib/modules")
    shutil.rmtree(unpacked)
    return release


def _unpack(root: pathlib.Path) -> pathlib.Path:
    """Unpack what has been downloaded, beside the root: its links such as /lib would be replaced by folders."""
    place = root / "opt/unpacked"
    for deb in (root / "opt/debs").glob("*.deb"):
        run("dpkg-deb", "-x", deb, place)
        deb.unlink()
    return place


def _add_gpio_sim(root: pathlib.Path, release: str) -> None:
    """Build the kernel's own GPIO simulator from the source of the same kernel."""
    series = ".".join(release.split(".")[:2])
    _apt(root, "install", "-y", "--no-install-recommends", *BUILD_PACKAGES, f"linux-headers-{release}")
    _apt(root, "download", f"linux-source-{series}", folder="/opt/debs")
    unpacked = _unpack(root)
    work = root / "opt/gpio-sim"
    work.mkdir()
    names = ("drivers/gpio/gpio-sim.c", "drivers/gpio/gpiolib.h", "kernel/irq/irq_sim.c")
    files = [f"linux-source-{series}/{name}" for name in names]
    archive = unpacked / f"usr/src/linux-source-{series}.tar.xz"
    run("tar", "-x", "-C", work, "--strip-components=3", "-f", archive, *files)
    shutil.rmtree(unpacked)
    (work / "Makefile").write_text(GPIO_SIM_MAKEFILE)
    source = (work / "irq_sim.c").read_text()  # as a module it has to call what the kernel offers to modules
    (work / "irq_sim.c").write_text(source.replace(*IRQ_SIM_CALL))
    build = f"/lib/modules/{release}/build"
    run("chroot", root, "make", "-C", build, "M=/opt/gpio-sim", "modules", "modules_install")
    _apt(root, "purge", "-y", "--autoremove", *BUILD_PACKAGES, f"linux-headers-{release}")
    _apt(root, "clean")


def _add_site(root: pathlib.Path, wanted: "list[str]") -> None:
    say("Python packages")
    version = run("chroot", root, "python3", "-c", 'import sys; print("%d.%d" % sys.version_info[:2])').strip()
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    only = ["--python-version", version, "--implementation", "cp", "--only-binary=:all:"]
    run(*pip, "--target", root / SITE, *only, *wanted)
    run("chroot", root, "python3", "-m", "compileall", "-q", "/" + SITE)


def _set_up(root: pathlib.Path) -> None:
    (root / "etc/hostname").write_text("vm\n")
    (root / "etc/fstab").write_text("")
    (root / "etc/modules-load.d/vm.conf").write_text("virtio_console\n")
    (root / "etc/systemd/system/tests.service").write_text(UNIT)
    (root / "opt/start").write_text(START.format(site=SITE))
    (root / "opt/start").chmod(0o755)
    run("chroot", root, "systemctl", "enable", "--quiet", "tests.service", "systemd-networkd.service")
    run(
        "chroot",
        root,
        "systemctl",
        "mask",
        "--quiet",
        "apt-daily.timer",
        "apt-daily-upgrade.timer",
        "dpkg-db-backup.timer",
    )
    run("chroot", root, "useradd", "--create-home", "somebody")


def _make_initramfs(path: pathlib.Path, root: pathlib.Path, release: str) -> None:
    """An archive with busybox, the modules that the root file system needs, and a script."""
    modules = root / "lib/modules" / release
    work = path.with_suffix(".tree")
    shutil.rmtree(work, ignore_errors=True)
    for name in ("bin", "modules"):
        (work / name).mkdir(parents=True)
    shutil.copy(root / "bin/busybox", work / "bin/busybox")
    order = _with_dependencies(modules)
    for module in order:
        shutil.copy(modules / module, work / "modules")
    init = work / "init"
    init.write_text(INIT.format(modules=" ".join(os.path.basename(module) for module in order)))
    init.chmod(0o755)
    with open(path, "wb") as archive:
        names = b"".join(bytes(name.relative_to(work)) + b"\n" for name in sorted(work.rglob("*")))
        command = [root / "bin/busybox", "cpio", "-o", "-H", "newc"]
        subprocess.run(command, cwd=work, input=names, stdout=archive, stderr=subprocess.DEVNULL, check=True)
    shutil.rmtree(work)


def _with_dependencies(modules: pathlib.Path) -> "list[str]":
    """Paths of EARLY_MODULES and of what they need, in the order in which they can be loaded."""
    needs = {}
    for line in (modules / "modules.dep").read_text().splitlines():
        path, _, others = line.partition(":")
        needs[path] = others.split()
    by_name = {os.path.basename(path).partition(".ko")[0]: path for path in needs}
    order: list[str] = []
    for name in EARLY_MODULES:
        for path in [*reversed(needs[by_name[name]]), by_name[name]]:
            if path not in order:
                order.append(path)
    return order
