"""What a board starts: the device, and the board again when that ends, whatever the reason was."""

import sys
import time

SYSTEM = "/system"
PAUSE_SEC = 10  # before the board starts again, so that somebody at its console can stop it


def main():
    """Run the device that /board.json describes; its settings and whatever must survive a restart are in /state."""
    import machine

    sys.path.insert(0, SYSTEM)
    try:
        from firmware.microcontroller import run

        run("/board.json", "/state")
    except KeyboardInterrupt:
        return  # to the prompt
    except BaseException as exc:
        sys.print_exception(exc)
    time.sleep(PAUSE_SEC)
    machine.reset()


main()
