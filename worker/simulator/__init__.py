"""A stand-in for Cyclr's API, in memory, for the demo and the tests. It shares no code with the client it tests.

A call comes in by `server`, is written into the `ledger` and led past the `faults` by `traffic`. `api` is the table of
routes; a function of `partner`, `offers`, `installed` or `using` answers, asking the `world`, which does as its `switches`
say. `admin` changes things meanwhile. `control` lets tests in other processes set all this; `sample` is the demo's.
"""
