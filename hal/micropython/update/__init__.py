"""Updates of boards that run MicroPython: what installs them, and what starts them."""
