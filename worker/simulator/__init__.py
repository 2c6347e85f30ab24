"""A stand-in for Cyclr's API, in memory, for the demo and the tests. It shares no code with the client it tests.

A call comes in by `server`, is written into the `ledger` and led past the `faults` by `traffic`, and is answered by a
function of `api`, which asks the `world`. `admin` changes things meanwhile.
`control` lets tests in other processes set all this; `sample` is the demo's.
"""
