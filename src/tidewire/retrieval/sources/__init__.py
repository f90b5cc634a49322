"""Where documents come from: each source brings what is new or changed to a `Delivery`, and says what is gone."""
