"""The command `licmeter`."""
