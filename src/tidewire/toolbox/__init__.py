"""Tools that this server runs itself: what they are, how they are called, and the loop of a model that calls them."""
