"""`make audit`: what is known, of all that is pinned, against its use."""
