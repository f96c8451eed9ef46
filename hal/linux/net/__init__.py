"""Interfaces, addresses and tunnels of Linux."""
