"""The clock, local time, SNTP."""
