"""Updates on Linux: two folders of which one starts, or RAUC."""
