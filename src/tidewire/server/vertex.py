"""What a provider of kind "vertex" is made from: where it is, for which project, and who asks."""

from __future__ import annotations

import os
from typing import Final

from tidewire.core.errors import SettingsError
from tidewire.dialects.gemini_host import VertexHost
from tidewire.providers.google_account import Account, GoogleAccount, read_account
from tidewire.server import settings as s

CREDENTIALS: Final = "GOOGLE_APPLICATION_CREDENTIALS"


def base_url(given: s.Provider) -> str:
    """The host of a region; "global" and none have the one without a region in its name."""
    region = _region(given)
    return "https://aiplatform.googleapis.com" if region == "global" else f"https://{region}-aiplatform.googleapis.com"


def speaker(given: s.Provider) -> VertexHost:
    """Raises SettingsError where no project is known."""
    project = given.project or os.environ.get("GOOGLE_CLOUD_PROJECT", "")
    if not project and (account := _account(given)) is not None:
        project = account.project_id or account.quota_project_id
    if not project:
        raise SettingsError(
            "a provider of kind vertex needs a project; set project, or GOOGLE_CLOUD_PROJECT", param="project"
        )
    return VertexHost(project, _region(given))


def signer(given: s.Provider, key: str | None) -> GoogleAccount | None:
    """None where a token is given as it is, by api_key_env. Raises SettingsError where nobody is known to ask."""
    if key:
        return None
    account = _account(given)
    if account is None:
        raise SettingsError(
            f"a provider of kind vertex needs credentials; set credentials or {CREDENTIALS} to a credentials file, or "
            "api_key_env to a variable that holds an access token",
            param="credentials",
        )
    return GoogleAccount(account, ca_file=given.ca_file or None, proxy=given.proxy or None)


def _region(given: s.Provider) -> str:
    return given.region or os.environ.get("GOOGLE_CLOUD_LOCATION") or "global"


def _account(given: s.Provider) -> Account | None:
    if given.credentials:
        return read_account(given.credentials)
    path = os.environ.get(CREDENTIALS)
    return read_account(path, CREDENTIALS) if path else None
