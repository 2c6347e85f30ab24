"""What an attacker, a broken Cyclr or an honest mistake can do to a process, and must not."""
