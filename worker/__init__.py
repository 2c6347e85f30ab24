"""cyclr-bulk: a CSV of accounts becomes installed connectors."""
