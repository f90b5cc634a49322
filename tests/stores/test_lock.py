from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tidewire.core.errors import SettingsError
from tidewire.stores.lock import DataLock

HOLDER = """
import sys, time
from pathlib import Path
from tidewire.stores.lock import DataLock
DataLock(Path(sys.argv[1])).acquire()
print("held", flush=True)
time.sleep(60)
"""


def test_a_folder_is_for_one_process_and_free_again_when_it_lets_go(tmp_path: Path) -> None:
    first, second = DataLock(tmp_path / "new" / "data"), DataLock(tmp_path / "new" / "data")
    first.acquire()
    with pytest.raises(SettingsError, match=f"process id {os.getpid()}; stop that server"):
        second.acquire()
    first.release()
    second.acquire()
    second.release()
    second.release()


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(SettingsError, match=f"process id {child.pid}"):
            DataLock(tmp_path).acquire()
        os.kill(child.pid, signal.SIGKILL)
    lock = DataLock(tmp_path)
    lock.acquire()
    lock.release()
