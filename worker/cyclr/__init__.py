"""The only place that speaks HTTP: calls to Cyclr, when they may be made, and what their answers mean."""
