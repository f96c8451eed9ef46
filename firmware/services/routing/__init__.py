"""Where a Modbus request goes: the line, the device's own registers, or a server elsewhere."""
