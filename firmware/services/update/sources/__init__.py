"""Where updates come from: web servers, the SD card, a hawkBit server."""
