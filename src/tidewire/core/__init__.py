"""The vocabulary of Tidewire: pure data and ports. No sockets, no clocks, no asyncio here."""
