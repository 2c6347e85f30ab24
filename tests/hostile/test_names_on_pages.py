"""What others called their things stands on pages as a part of its own: nothing beside it is turned around."""

import re
from html import unescape

from tests.browser.served import Served
from tests.browser.world import MAIL, add_accounts
from tests.end_to_end.processes.commands import eventually
from tests.hostile.visits import Visitor
from tests.served.home import client_of

NAME = "spring\u202e<b>.csv"
SET_APART = "<bdi>spring\u202e&lt;b&gt;.csv</bdi>"


def test_a_file_that_turns_text_around_turns_no_sentence_of_ours(served: Served):
    served.simulator.call(lambda world: add_accounts(world, ["named-1", "named-2"]))
    items = [{"account_id": each, "connector": MAIL, "api_key": "k"} for each in ("named-1", "named-2")]
    with client_of(served) as client, Visitor(served) as visitor:
        made = client.post("/v1/jobs", json={"items": items, "options": {"first": 1, "source_name": NAME}})
        job = f"/jobs/{made.json()['id']}"
        eventually(lambda: client.get(f"/v1{job}").json()["state"] == "paused", "it is paused")
        for deed in ("pause", "resume", "cancel", "retry"):
            page = visitor.client.get(f"{job}/{deed}").text
            assert re.search(rf"<h1[^>]*>{deed.title()}[^<]* {SET_APART}\?</h1>", page), page
            title = re.search(r"<title>([^<]*)</title>", page)
            assert title is not None
            assert f"{NAME}? · cyclr-bulk" in unescape(title[1])
        page = visitor.client.get(f"{job}/items/2").text
        assert f"as row 2 of {SET_APART}" in page
