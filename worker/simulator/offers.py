"""What the catalogue is asked, and installs. Source: reference sections 6 and 7."""

from worker.simulator.catalogue import ApiMethod, Release
from worker.simulator.entry import acting_account, json_text, listed
from worker.simulator.exchange import Asked, Refused, Reply, found, is_guid
from worker.simulator.installed import changed
from worker.simulator.world import Install, World


def list_connectors(world: World, asked: Asked) -> Reply:
    """`query` matches like "contains" [inferred]. There are no custom connectors here."""
    acting_account(world, asked)
    text, category = asked.query.get("query", "").lower(), asked.query.get("category")
    hits = [
        release
        for release in world.releases.values()
        if text in release.name.lower() and (category is None or category in release.categories)
    ]
    if asked.query.get("orderby", "").lower() == "name":
        hits.sort(key=lambda release: release.name.lower())
    return listed(world, asked, hits, _stored_text)


def find_connectors(world: World, asked: Asked) -> Reply:
    """By id an object or 404; by name (and version) an array, empty for no match [inferred]."""
    acting_account(world, asked)
    reference, version = asked.path["reference"], asked.path.get("version")
    if version is None and reference.isdecimal():
        release = world.find_release(reference) or world.not_found("connector", reference)
        return Reply(200, release.as_json_text)
    hits = world.releases_named(reference, version)
    return Reply(200, f"[{','.join(release.as_json_text for release in hits)}]")


def list_methods(world: World, asked: Asked) -> Reply:
    """Those of one release: of an id, or the newest of a name (and version). No match is 404 by name too [inferred]."""
    acting_account(world, asked)
    reference, version = asked.path["reference"], asked.path.get("version")
    named = world.releases_named(reference, version)
    release = world.find_release(reference) if version is None else max(named, key=_id_of, default=None)
    if release is None:
        world.not_found("connector", reference)
    text, category = asked.query.get("query", "").lower(), asked.query.get("category")
    hits = [
        method
        for method in release.api_methods
        if text in method.name.lower() and category in (None, method.category)
    ]
    return listed(world, asked, hits, json_text)


def get_method(world: World, asked: Asked) -> Reply:
    """By the number that a release gave it, or by its unique identifier: that of the newest release."""
    acting_account(world, asked)
    text = asked.path["method_id"]
    if not text.isdecimal() and not is_guid(text):
        raise Refused(400, "The request is invalid.")
    known = [
        method
        for release in world.releases.values()
        for method in release.api_methods
        if text.lower() in (str(method.id), method.unique_id)
    ]
    return found((max(known, key=_id_of, default=None) or world.not_found("method", text)).as_json())


def install(world: World, asked: Asked) -> Reply:
    account = acting_account(world, asked)
    reference = asked.path["reference"]
    release = world.find_release(reference) or world.not_found("connector", reference)
    if asked.is_null:
        raise Refused(500, "An error has occurred.")  # [live-test, in a comment]
    fields = asked.fields
    wanted = Install(
        name=fields.text("name"),
        description=fields.text("description"),
        authentication_id=fields.text("authenticationid"),
        auth_value=fields.text("authvalue"),
        properties=fields.pairs("properties"),
        is_partner_integration=fields.flag("ispartnerintegrationconnector"),
    )
    return changed(world, world.install(account, release, wanted))


def _id_of(thing: Release | ApiMethod) -> int:
    return thing.id


def _stored_text(thing: Release) -> str:
    return thing.as_json_text
