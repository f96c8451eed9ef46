"""The simulated board itself: its identity, its restart, and the control socket by which its hardware is handled."""

import os
import sys

from hal.configured_system import ConfiguredSystem
from hal.contracts import NotPermitted, PartError
from hal.linux.host.device_key import public_key
from hal.linux.host.restart_reason import keep_reason, note_end, take_reason
from hal.linux.host.supervisor import SupervisedSystem, restart_exit
from hal.simulated.control import ControlSocket


class SimulatedSystem(SupervisedSystem, ConfiguredSystem):
    """A process on a development machine.

    In the state directory it keeps its key pair, the reason of its last restart and the control socket.
    """

    def __init__(self, options: dict, state_dir: str):
        super().__init__(options, state_dir)
        self._control = ControlSocket(state_dir)
        self._reason = take_reason(state_dir)

    def notice(self) -> str | None:
        """The factory login, which is no secret on a simulated board."""
        login = self.factory_login()
        return None if login is None else f"login {login[0]} / {login[1]}"

    def memory_free(self) -> int | None:
        """Bytes that the host's kernel thinks can be allocated."""
        with open("/proc/meminfo") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
        return None

    def start_reason(self) -> str:
        """POWER_ON, or what the last restart was told."""
        return self._reason

    def restart(self, reason: str) -> None:
        """Execute the process anew, under the same process id; end it where somebody waits to start it anew."""
        if restart_exit() is not None:
            self.restart_firmware(reason)
        keep_reason(self._state_dir, reason)
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            os.execv(sys.executable, [sys.executable, "-m", "firmware", *sys.argv[1:]])
        except OSError as exc:
            raise NotPermitted(f"cannot execute the firmware anew: {exc}") from exc

    async def start(self) -> None:
        """Open the control socket."""
        try:
            await self._control.open()
        except OSError as exc:
            raise PartError(f"the control socket cannot be opened: {exc}") from exc

    async def stop(self) -> None:
        """Close the control socket, and note that it was stopped."""
        self._control.close()
        note_end(self._state_dir)

    def _public_key(self) -> str | None:
        return public_key(self._state_dir)
