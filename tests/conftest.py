"""What holds for all tests."""

from hypothesis import HealthCheck, settings

# The time that an example takes is the machine's, not the code's: nothing of it is asserted.
settings.register_profile("licmeter", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("licmeter")
