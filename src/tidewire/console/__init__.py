"""The web console, built from web/console. Its files ship inside the package, so that nobody needs Node to see it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

ASSETS: Final = Path(__file__).parent / "assets"
