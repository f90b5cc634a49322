"""Here so that every test finds tests/strategies.py and its neighbours; the one setting that all property tests share; our marks."""

import gc
import os

from hypothesis import settings

os.environ["TIDEWIRE_EMBEDDING__KIND"] = "none"  # of servers that tests start; a test that wants the model says so

# A shared machine is no stopwatch. The examples are the same each time, so that a change is blamed for what it did itself;
# TIDEWIRE_EXPLORE=1 takes others each time.
settings.register_profile("tidewire", deadline=None, derandomize=not os.environ.get("TIDEWIRE_EXPLORE"))
settings.load_profile("tidewire")


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "promise(name): shows a promise of spec/PROTOCOL.md, section 2, by its name (P1 to P8)"
    )


def pytest_collectstart(collector):
    gc.disable()  # what is made until all tests are collected stays


def pytest_collection_finish(session):
    """The garbage collector does not look again and again at seven thousand tests."""
    gc.collect()
    gc.freeze()
    gc.enable()
