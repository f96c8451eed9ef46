"""Endpoints of the RS-485 line: requests, searches, the trace."""
