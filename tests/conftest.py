"""Here so that every test finds tests/strategies.py and its neighbours; the one setting that all property tests share; our marks."""

import os

from hypothesis import settings

os.environ["TIDEWIRE_EMBEDDING__KIND"] = "none"  # of servers that tests start; a test that wants the model says so

settings.register_profile("tidewire", deadline=None)  # a shared machine is no stopwatch
settings.load_profile("tidewire")


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "promise(name): shows a promise of spec/PROTOCOL.md, section 2, by its name (P1 to P8)"
    )
