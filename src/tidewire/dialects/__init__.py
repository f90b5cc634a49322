"""Public wire protocols, sans-I/O, both ways: parse and render towards clients, encode and decode towards hosts."""
