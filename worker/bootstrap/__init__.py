"""Builds the parts from Settings.

place.py           where a command, a page or a worker process works: its database, its broker
installer.py       the client and its limiter, for whoever calls Cyclr; what runs the install loop
worker_process.py  the life of Celery's processes

A command imports what it needs of these: what calls Cyclr takes half of the time in which a command starts.
"""
