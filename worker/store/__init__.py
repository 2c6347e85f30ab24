"""The only place with SQL: tables, queries, sealing, sessions. Synchronous; called through a thread from the loop."""
