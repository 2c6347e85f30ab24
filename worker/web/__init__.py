"""The HTTP API and the pages.

app.py         the application: routes, headers, errors
place.py       what every route is given: database, settings, Cyclr
access.py      API keys and sessions become a `Caller`
guards.py      what a route asks of its caller
http_errors.py errors as problem+json, or as a page
serving.py     the server
api/  pages/  desk/
"""
