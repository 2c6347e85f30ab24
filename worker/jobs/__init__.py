"""What a person asks for.

checking.py   a file, held against the catalogue, the accounts and our own past; nothing is changed
loading.py    the checked file becomes a job
errors.py     why it does not
unfinished.py the job of this very file that is not done yet
results.py    what came of every line, as a file
"""
