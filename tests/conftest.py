"""Here so that every test finds tests/strategies.py; and the one setting that all property tests share."""

from hypothesis import settings

settings.register_profile("tidewire", deadline=None)  # a shared machine is no stopwatch
settings.load_profile("tidewire")
