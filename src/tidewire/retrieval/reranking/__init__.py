"""Models that read a question beside each passage, and say how well it answers: at a host, or from a file on this machine."""
