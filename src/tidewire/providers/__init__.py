"""What answers requests: model hosts over HTTP, and scripted ones. Knows the core alone."""
