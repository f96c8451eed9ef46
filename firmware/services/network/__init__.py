"""The ways out: the wired network, the VPN, the modem and its messages."""
