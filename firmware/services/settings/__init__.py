"""Settings: the table, the saved and active areas, storing them, files of them."""
