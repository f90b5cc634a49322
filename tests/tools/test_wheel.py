"""What `pip install tidewire` brings, where there is no checkout."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

from tidewire.cli.demo import OWN

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "tidewire"


def test_the_wheel_holds_every_module_the_console_the_license_and_what_the_demo_reads(tmp_path):
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path], cwd=ROOT, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    wanted = {p.relative_to(PACKAGE.parent).as_posix() for p in PACKAGE.rglob("*.py")}
    wanted |= {p.relative_to(PACKAGE.parent).as_posix() for p in (PACKAGE / "console" / "assets").iterdir()}
    wanted |= {"tidewire/py.typed"}
    assert wanted <= held
    assert any(name.endswith("licenses/LICENSE") for name in held)
    for name in OWN:
        assert any(path.startswith(f"tidewire/documents/{name}") for path in held), name
