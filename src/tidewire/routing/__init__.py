"""Providers made of providers. Each wraps `answer(request, sink)` of others; none knows a host, a door or a log."""
