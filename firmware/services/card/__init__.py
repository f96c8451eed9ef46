"""Files on the SD card."""
