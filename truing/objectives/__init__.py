"""The mathematics: parts that compose to objectives."""
