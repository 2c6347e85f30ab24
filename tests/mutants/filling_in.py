"""Mutants of what is done to account connectors that are there: filled in, updated, left alone."""

from tests.mutants.mutants import Mutant

TABLE = "tests/end_to_end/test_filling_in.py"
LOST = "tests/end_to_end/test_changes_lost.py"
UPDATING = "tests/end_to_end/test_updating.py"

FILLING_IN_MUTANTS = (
    Mutant(
        "filled_in_beside_other_values",
        "worker/domain/comparing.py",
        "a key is set beside somebody else's address: what is missing is filled in though something else differs",
        "    if any(name != DESCRIPTION for name in others) and not rights.may_replace:\n",
        "    if False:\n",
        (TABLE,),
    ),
    Mutant(
        "what_differs_is_overwritten",
        "worker/domain/comparing.py",
        "what a customer has set is overwritten though nobody said so",
        "        return self.is_ours or self.overwrites\n",
        "        return True\n",
        (TABLE,),
    ),
    Mutant(
        "hidden_values_stay_under_overwrite",
        "worker/domain/comparing.py",
        "a key that Cyclr hides is not replaced, and its row is done with the old one",
        "        case Standing.NOT_SHOWN:\n            return rights.may_replace\n",
        "        case Standing.NOT_SHOWN:\n            return False\n",
        (TABLE,),
    ),
    Mutant(
        "tokens_are_sent_again",
        "worker/domain/comparing.py",
        "OAuth tokens that were sent and got no answer are sent again over those that Cyclr has renewed since",
        "            standings[name] = Standing.SAME\n",
        "            pass\n",
        (UPDATING,),
    ),
    Mutant(
        "tokens_are_replaced",
        "worker/domain/comparing.py",
        "--overwrite replaces OAuth tokens that Cyclr keeps alive by itself",
        "            return rights.overwrites and rights.replaces_tokens\n",
        "            return rights.overwrites\n",
        (UPDATING,),
    ),
    Mutant(
        "later_values_are_former_ones",
        "worker/operations/overwritten.py",
        "what our own lost call has set is kept as what was there before",
        "            self.former.setdefault(name, shown_value(shown, name))\n",
        "            self.former[name] = shown_value(shown, name)\n",
        (UPDATING,),
    ),
    Mutant(
        "later_standings_are_first_ones",
        "worker/operations/fields.py",
        "a row that has overwritten a value says that it was only filled in",
        "            return replace(notes, before=before | dict(notes.before), undo=_undo(hands, shown, change, notes))\n",
        "            return replace(notes, before=dict(notes.before) | before, undo=_undo(hands, shown, change, notes))\n",
        (LOST, UPDATING),
    ),
    Mutant(
        "all_that_the_row_names_is_sent",
        "worker/operations/fields.py",
        "a PUT that is to fill in the key overwrites the description too",
        "    if DESCRIPTION in names:\n",
        "    if DESCRIPTION in asked:\n",
        (TABLE,),
    ),
    Mutant(
        "properties_go_along",
        "worker/operations/fields.py",
        "a PUT of the key names the properties too, so that those are gone which it leaves out",
        '        body["Description"] = asked[DESCRIPTION]\n    return body\n',
        '        body["Description"] = asked[DESCRIPTION]\n    return body | {"Properties": []}  # type: ignore[dict-item]\n',
        ("tests/end_to_end/test_changes_own_fields.py",),
    ),
    Mutant(
        "rows_of_ours_are_other_names",
        "worker/operations/finding.py",
        "a row is refused since another row of its own job has installed the connector under its own Name",
        "    others = [entry for entry in finding.elsewhere if entry.id not in ours]\n",
        "    others = list(finding.elsewhere)\n",
        (TABLE,),
    ),
    Mutant(
        "another_name_is_nobodys",
        "worker/operations/finding.py",
        "the customer gets a second connector beside the one under another Name",
        "    if not finding.elsewhere or options.beside or options.no_look:\n",
        "    if True:\n",
        (TABLE,),
    ),
    Mutant(
        "two_that_match_are_one",
        "worker/operations/finding.py",
        "of two connectors of the same Name the one that comes first is changed",
        "    if finding.is_ambiguous:\n",
        "    if False:\n",
        (TABLE,),
    ),
    Mutant(
        "hidden_keys_are_set_after_a_lost_install",
        "worker/operations/fields.py",
        "a customer's own key is overwritten, since an install of ours got no answer and Cyclr hides whose key it is",
        "    elif is_living(asked) and (hands.item.maybe_sent or notes.sent == CONNECTOR.name):\n",
        "    elif hands.item.maybe_sent or notes.sent == CONNECTOR.name:\n",
        (LOST,),
    ),
    Mutant(
        "changes_without_an_answer_are_forgotten",
        "worker/operations/fields.py",
        "a key was overwritten by a call that got no answer, and its row says that nothing was changed",
        "    return tuple(name for name in notes.before if name not in left and name not in notes.changed)\n",
        "    return ()\n",
        (LOST,),
    ),
    Mutant(
        "properties_are_added_without_a_look",
        "worker/domain/steps.py",
        "a property whose adding got no answer is tried again before Cyclr can have ended it",
        "    is_repeatable=False,  # a second one of the same name may be added\n",
        "    is_repeatable=True,\n",
        (LOST,),
    ),
    Mutant(
        "update_makes_what_is_not_there",
        "worker/operations/update.py",
        "an update of a connector that is not there installs one",
        "from worker.operations.fields import FIELD_STEPS, conclude_row\n",
        "from worker.operations.fields import conclude_row\n"
        "from worker.operations.install import INSTALL\n\nFIELD_STEPS = INSTALL.steps\n",
        (UPDATING,),
    ),
)
