"""What a job does to its rows: an operation is a list of steps.

operation.py  a step, an operation: values
install.py    the one that installs: the account, then the connector
known.py      all there are, by the name that a job has for its own
hands.py      what a step works with: the calls of one attempt, what they have shown, the jobs' connectors
"""
