"""Builds the parts from Settings.

database.py        the database, for everybody
cyclr.py           the client and its limiter, for whoever calls Cyclr
installer.py       what runs the install loop, for a worker process and for a command that installs by itself
worker_process.py  the life of Celery's processes

A command imports what it needs of these: what calls Cyclr takes half of the time in which a command starts.
"""
