"""The HTTP API and the pages.

app.py          the application: routes, middleware, what it begins and ends with

serving.py      the server, its patience, and who is at the other end
middleware.py   what requests and answers pass on their way
access.py       API keys and sessions become a `Caller`; wrong keys take their turns
guards.py       what a route is given, and asks of its caller

http_errors.py  errors as problem+json, or as a page
faults.py       what is wrong with what came in a request
files.py        files for browsers

receiving.py    a body becomes a waiting upload
waiting.py      where uploads wait
handing_in.py   a waiting upload becomes a job
json_bodies.py  a body of JSON
json_items.py   a list of items in one, json_reader.py its text

api/  pages/  desk/
"""
