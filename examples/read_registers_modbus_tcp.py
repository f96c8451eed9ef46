"""Reads holding registers of a Modbus device through the device's Modbus TCP port, with pymodbus as the client.

python examples/read_registers_modbus_tcp.py 127.0.0.1 5020 [UNIT [ADDRESS [COUNT]]]
"""

import sys

from pymodbus.client import ModbusTcpClient


def main() -> None:
    """Print one line for each register."""
    host, port, *numbers = sys.argv[1:]
    unit, address, count = [int(number) for number in numbers] + [1, 0, 4][len(numbers) :]
    with ModbusTcpClient(host, port=int(port), timeout=10) as client:
        answer = client.read_holding_registers(address, count=count, device_id=unit)
    if answer.isError():
        sys.exit(f"unit {unit} gave no registers: {answer}")
    for offset, value in enumerate(answer.registers):
        print(f"{address + offset}: {value}")


if __name__ == "__main__":
    main()
