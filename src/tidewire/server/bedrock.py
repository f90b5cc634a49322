"""The settings of a host at AWS: its region, its address, who signs."""

from __future__ import annotations

import os
from typing import Final

from tidewire.core.errors import SettingsError
from tidewire.providers.aws_signing import SigV4, credentials
from tidewire.providers.hosted import Signer
from tidewire.server import settings as s

SERVICE: Final = "bedrock"


def region(given: s.Provider) -> str:
    """As set, or as AWS's own tools have it. Raises SettingsError where neither says."""
    said = given.region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or ""
    if not said:
        raise SettingsError(
            'region is not set, and neither is AWS_REGION; set one, as in region = "us-east-1"', param="region"
        )
    return said


def base_url(given: s.Provider) -> str:
    return f"https://bedrock-runtime.{region(given)}.amazonaws.com"


def signer(given: s.Provider, key: str | None) -> Signer | None:
    """None where a key stands for the account: it goes as a bearer token. Raises SettingsError where nothing does."""
    if key:
        return None
    return SigV4(credentials(given.credentials, os.environ, "credentials"), region(given), SERVICE)
