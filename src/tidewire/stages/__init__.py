"""What is done to each event before it is numbered: sync, pure, order-keeping. Each is a `core.ports.Stage`."""
