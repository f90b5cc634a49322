"""Chat Completions as Azure OpenAI serves it: the v1 API, and the older one with the deployment in the path.

Source: Microsoft's pages on the Azure OpenAI v1 API and on the REST reference of API version 2024-10-21.
"""

from __future__ import annotations

from urllib.parse import quote

from tidewire.dialects.openai_chat_host import ChatHost
from tidewire.dialects.openai_quirks import QUIRKS


class AzureHost(ChatHost):
    """api_version: "" for the v1 API, where the deployment goes as the model; a date for the older API.

    Paths are those below the resource's address, https://<resource>.openai.azure.com. Neither API lists deployments.
    """

    listing = ""

    def __init__(self, api_version: str = "") -> None:
        super().__init__(QUIRKS["azure-classic" if api_version else "azure"])
        self._api_version = api_version

    def path(self, what: str, model: str) -> str:
        if not self._api_version:
            return f"/openai/v1/{what}"
        return f"/openai/deployments/{quote(model, safe='')}/{what}?api-version={quote(self._api_version)}"
