"""GPIO lines, by either version of libgpiod."""
