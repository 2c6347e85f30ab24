"""The mutants of the web process's guards: lines that keep strangers from acting in somebody's name, or shutting others out."""

from tests.mutants.mutants import Mutant

_FORMS = "tests/hostile/test_forged_forms.py"
_HOSTS = "tests/hostile/test_hosts.py"
_ADDRESSES = "tests/unit/web/test_addresses.py"
_BRAKE = "tests/integration/web/test_brake.py"
_SILENT = "tests/hostile/test_silent_connections.py"

GUARD_MUTANTS = (
    Mutant(
        "multipart_needs_no_token",
        "worker/web/guards.py",
        "a form of another site, sent as multipart, is taken for one of ours",
        "    if request.method not in SAFE_METHODS:\n",
        '    if request.method not in SAFE_METHODS and "multipart" not in request.headers.get("content-type", ""):\n',
        (_FORMS,),
    ),
    Mutant(
        "upload_before_its_token",
        "worker/web/pages/new_job.py",
        "a file of another site is kept before anybody asks for the form's token",
        '        require_form_token(request, fields.get(FORM_TOKEN, ""))\n',
        "        assert fields is not None\n",
        (_FORMS,),
    ),
    Mutant(
        "silence_is_an_own_page",
        "worker/web/middleware.py",
        "what does not say where it comes from is taken for a page of ours",
        "        return is_told_by_site\n",
        "        return True\n",
        (_FORMS,),
    ),
    Mutant(
        "any_host_is_ours",
        "worker/web/middleware.py",
        "a stranger's name that leads here is served, and his page is one of ours",
        '    if scope["path"] not in FOR_ANY_HOST and not hosts.knows(headers.get("host", "")):\n',
        '    if scope["path"] not in FOR_ANY_HOST and not headers.get("host", ""):\n',
        (_HOSTS,),
    ),
    Mutant(
        "strangers_speak_for_others",
        "worker/web/serving.py",
        "X-Forwarded-For of anybody is believed, so that each wrong key comes from a new address",
        "            if is_among(peer, proxies):\n",
        "            if peer is not None:\n",
        (_HOSTS,),
    ),
    Mutant(
        "callers_own_word_is_believed",
        "worker/web/serving.py",
        "what a caller has written into X-Forwarded-For himself is believed behind a proxy",
        "        found = read_address(hop) if is_among(caller, proxies) else None\n",
        "        found = read_address(hop)\n",
        (_ADDRESSES,),
    ),
    Mutant(
        "guesses_side_by_side",
        "worker/web/access.py",
        "as many keys are tried side by side as somebody has connections",
        "        if turns.count >= self.MOST_OF_ONE:\n",
        "        if turns.count < 0:\n",
        (_BRAKE,),
    ),
    Mutant(
        "silent_ones_keep_their_place",
        "worker/web/serving.py",
        "connections that say nothing take all the room there is",
        "        victim.give_up()\n        return True\n",
        "        return bool(victim.group == '')\n",
        (_SILENT,),
    ),
    Mutant(
        "a_body_may_drip",
        "worker/web/serving.py",
        "a body of one byte a second is waited for",
        "            if self._window_bytes < patience.body_window_bytes:\n",
        "            if self._window_bytes < 0:\n",
        (_SILENT,),
    ),
    Mutant(
        "another_delimiter_makes_a_formula",
        "worker/intake/values.py",
        "a cell of a result file is run as a formula where a spreadsheet takes another delimiter",
        '    text = _INNER.sub(r"\\1\'\\2", text)\n',
        "",
        ("tests/unit/intake/test_escapes.py",),
    ),
)
