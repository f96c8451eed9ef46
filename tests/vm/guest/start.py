"""Runs in the virtual machine whenever it starts: the tests, then the end. What it prints goes to the rig.

First the hardware layer by itself, then the installed package, which restarts the machine, then what it finds again.
"""

import json
import os
import pathlib
import subprocess
import sys
import time
import traceback

GUEST = pathlib.Path(__file__).resolve().parent
CHECKOUT = GUEST.parents[2]
RIG = "/dev/virtio-ports/rig"
BEFORE = pathlib.Path("/opt/code-of-the-tests-before-the-restart")
KEYS = pathlib.Path("/opt/tunnel-keys.json")
NOTHING_SELECTED = 5
RESTART_SEC = 90


def main() -> None:
    """Run what is due at this start, tell the rig how it went, switch the machine off."""
    try:
        code = run_all()
    except Exception:
        traceback.print_exc()
        code = 1
    if code:
        with open("/dev/console", "wb") as console:
            subprocess.run(["journalctl", "--boot", "--no-pager"], stdout=console)
    with open(RIG, "w") as rig:
        rig.write(f"exit {code}\n")
    subprocess.run(["systemctl", "poweroff"], check=True)


def run_all() -> int:
    """The exit code; there is none where the machine restarts."""
    if BEFORE.exists():
        return run_tests(["test_restarted_device.py"]) or int(BEFORE.read_text())
    code = run_tests([path.name for path in sorted(GUEST.glob("test_vm_*.py"))])
    code = run_tests(["test_installed_device.py"]) or code
    if not os.path.exists("/etc/mc252/board.json"):
        return code
    BEFORE.write_text(str(code))
    ask_for_restart()
    time.sleep(RESTART_SEC)
    print("the machine was not restarted")
    return 1


def run_tests(names: "list[str]") -> int:
    """pytest's exit code; that there was nothing to do is none."""
    arguments = json.loads((CHECKOUT / "pytest-arguments.json").read_text())
    command = [sys.executable, "-m", "pytest", "-vv", *(str(GUEST / name) for name in names), *arguments]
    code = subprocess.run(command, cwd=CHECKOUT, env=dict(os.environ, MC252_VM="1")).returncode
    return 0 if code == NOTHING_SELECTED else code


def ask_for_restart() -> None:
    """Change settings and have the device restart the machine, by its API."""
    sys.path.insert(0, str(CHECKOUT))
    from tests.vm.guest.device_api import answers, call, login, wait_until
    from tests.vm.guest.far_end import make_keys, tunnel_to

    wait_until(answers)
    token = login()
    near, far = make_keys(), make_keys()
    KEYS.write_text(json.dumps({"near": near, "far": far}))
    wanted = {"language": "uk", "ethernet": {"hostname": "pump-house"}, "wgManual": tunnel_to(far[1], near[0])}
    for path, body in (("/api/settings/saved/set/", wanted), ("/api/cmd/reboot/", {})):
        print(path, *call(path, body, token), flush=True)


if __name__ == "__main__":
    main()
