"""Reads holding registers of a Modbus device through the device's HTTP API.

python examples/read_registers_http.py http://127.0.0.1:8080/ admin mc252-sim [UNIT [ADDRESS [COUNT]]]
"""

import sys

from api import Api


def read_registers(api: Api, unit: int, address: int, count: int) -> "list[int]":
    """Values of the registers; RuntimeError says why there are none."""
    request = {"uid": unit, "func": 3, "addr": address, "count": count}
    tid = api.post("/api/modbus/req/", request)["tid"]
    result = {"status": "PENDING"}
    while result["status"] == "PENDING":  # the device holds the answer until the result is there, 10 s at most
        result = api.get(f"/api/modbus/resp/?tid={tid}&wait=10000")
    if result["status"] == "ERROR":
        raise RuntimeError(f"unit {unit} gave no registers: {result['errorCode']}")
    return result["values"]


def main() -> None:
    """Print one line for each register."""
    url, username, password, *numbers = sys.argv[1:]
    unit, address, count = [int(number) for number in numbers] + [1, 0, 4][len(numbers) :]
    api = Api(url)
    api.login(username, password)
    for offset, value in enumerate(read_registers(api, unit, address, count)):
        print(f"{address + offset}: {value}")


if __name__ == "__main__":
    main()
