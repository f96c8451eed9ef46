"""Searches the RS-485 line for devices and waits for the end of the search.

python examples/search_devices.py http://127.0.0.1:8080/ admin mc252-sim [FIRST_UNIT [LAST_UNIT [BAUD_RATE]]]
"""

import sys
import time

from api import Api

NO_PARITY = 5  # charFormat, as in setting serial: docs/settings.md


def search(api: Api, first: int, last: int, baud_rate: int) -> "list[dict]":
    """The devices found; tells on the standard error how far it is."""
    line = {"baudRate": baud_rate, "charFormat": NO_PARITY}
    api.post("/api/modbus/find/start/", {**line, "uidFrom": first, "uidTo": last, "fastSearch": True})
    while (result := api.get("/api/modbus/find/result/"))["status"] == "RUNNING":
        print(f"{result['progress']} %, {result['etaSec']} s to go", file=sys.stderr)
        time.sleep(1)
    if result["status"] == "ERROR":
        raise RuntimeError("the search failed: the device's log says why")
    return api.get("/api/modbus/find/result/?list")["foundDevices"]


def main() -> None:
    """Print one line for each device found."""
    url, username, password, *numbers = sys.argv[1:]
    first, last, baud_rate = [int(number) for number in numbers] + [1, 247, 9600][len(numbers) :]
    api = Api(url)
    api.login(username, password)
    for device in search(api, first, last, baud_rate):
        print(f"unit {device['uid']} at {device['baudRate']} bit/s: {device['verdict']}")


if __name__ == "__main__":
    main()
