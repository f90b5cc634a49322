"""An MCP server made with the official package: `python mcp_official.py` speaks over standard input and output; tests serve the same over HTTP.

It notes in the file $NOTES/cancelled that a call of `slow` was cancelled.
"""

import asyncio
import os
from pathlib import Path
from typing import TypedDict

import mcp_types as said
from mcp.server.mcpserver import Context, Image, MCPServer

PIXEL = bytes.fromhex("89504e470d0a1a0a")


class Weather(TypedDict):
    city: str
    degrees: int


def made() -> MCPServer:
    server = MCPServer("official")
    notes = Path(os.environ.get("NOTES", "/nonexistent"))

    @server.tool()
    def add(a: int, b: int) -> int:
        """Adds two whole numbers."""
        return a + b

    @server.tool(name="with.dots")
    def odd() -> str:
        return "odd"

    @server.tool()
    def picture() -> Image:
        return Image(data=PIXEL, format="png")

    @server.tool()
    def link() -> said.CallToolResult:
        return said.CallToolResult(
            content=[
                said.ResourceLink(
                    type="resource_link", name="notes", uri="file:///notes.txt", description="what was said"
                )
            ]
        )

    @server.tool()
    def fails() -> str:
        raise ValueError("no such city")

    @server.tool()
    async def slow(ctx: Context) -> str:
        try:
            await ctx.report_progress(1, 10, "began")
            (notes / "started").write_text("yes")
            await asyncio.sleep(60)
        except BaseException:
            (notes / "cancelled").write_text("yes")
            raise
        return "done"

    @server.tool()
    def huge(size: int) -> said.CallToolResult:
        return said.CallToolResult(content=[said.TextContent(type="text", text="x" * size)])

    @server.tool()
    def environment() -> str:
        return " ".join(sorted(os.environ))

    @server.tool()
    async def learn(ctx: Context) -> str:
        server.add_tool(lambda: "new", name="learned", description="came later")
        await ctx.session.send_tool_list_changed()  # 2025-11-25
        await ctx.notify_tools_changed()  # 2026-07-28
        return "learned"

    @server.tool()
    def structured() -> said.CallToolResult:
        return said.CallToolResult(content=[], structured_content=Weather(city="Oslo", degrees=-3))

    return server


if __name__ == "__main__":
    made().run("stdio")
