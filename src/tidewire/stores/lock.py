"""One server process to a data folder."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

from tidewire.core.errors import SettingsError

NAME: Final = "lock"


class DataLock:
    """Holds `<folder>/lock`, which names the process. The system lets go of it when the process ends, however it ends."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: int | None = None

    def acquire(self) -> None:
        """Raises SettingsError when another process holds the folder, or when it cannot be used."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            file = os.open(self._folder / NAME, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise SettingsError(
                f"the data folder {self._folder} cannot be used ({error.strerror}); give another one, or the right to write there",
                param="data",
            ) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(file, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(file)
            raise SettingsError(
                f"the data folder {self._folder} is in use by the server with process id {holder}; stop that server, or give "
                "this one another folder",
                param="data",
            ) from None
        except OSError as error:
            os.close(file)
            raise SettingsError(
                f"the data folder {self._folder} cannot be locked ({error.strerror}); put it on a local disk",
                param="data",
            ) from error
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        self._file = file

    def release(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
