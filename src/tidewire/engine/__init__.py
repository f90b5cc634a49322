"""One request becomes one stream: the desk starts, follows and cancels; a run is one answer on its way."""
