"""What the device does: no HTTP here, and no knowledge of the hardware it runs on."""
