"""What a board starts: the firmware that its updater chooses, and the board again when that ends, whatever the reason
was."""

import sys
import time

SYSTEM = "/system"
BOARD, STATE = "/board.json", "/state"
PAUSE_SEC = 10  # before the board starts again, so that somebody at its console can stop it


def main():
    """Run the device that BOARD describes; its settings and whatever must survive a restart are in STATE."""
    import machine

    sys.path.insert(0, SYSTEM)
    try:
        choose()
        from firmware.microcontroller import run

        run(BOARD, STATE)
    except KeyboardInterrupt:
        return  # to the prompt
    except BaseException as exc:
        sys.print_exception(exc)
    time.sleep(PAUSE_SEC)
    machine.reset()


def choose():
    """Have the firmware found that is to start; whatever fails here, the one in SYSTEM starts."""
    try:
        from hal.micropython.update.supervisor import prepare

        prepare(BOARD, STATE)
    except Exception as exc:
        sys.print_exception(exc)


main()
