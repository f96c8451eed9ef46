"""The simulated Modbus world: a line with devices, in a process of its own."""
