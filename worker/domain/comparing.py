"""What an account connector that is there already has otherwise than the row asks."""

from collections.abc import Mapping

from worker.domain.connectors import AccountConnector
from worker.domain.rows import AUTH_COLUMNS, PROPERTY_PREFIX, auth_value, properties


def differences(
    found: AccountConnector, secrets: Mapping[str, str], description: str | None
) -> tuple[str, ...]:
    """Column names of the row whose values are not those of `found`; never a value.

    What the row leaves open differs from nothing. A credential that Cyclr does not show cannot be compared.
    """
    differing: list[str] = []
    sent = auth_value(secrets)
    if sent is not None:
        is_hidden = found.auth_value is None and found.is_authenticated
        if not is_hidden and found.auth_value != sent:
            differing += [column for column in AUTH_COLUMNS if column in secrets]
    there = dict(found.properties)
    differing += [
        PROPERTY_PREFIX + name for name, value in properties(secrets).items() if there.get(name) != value
    ]
    if description is not None and (found.description or "") != description:
        differing.append("description")
    return tuple(differing)


def shows_all(found: AccountConnector, secrets: Mapping[str, str], description: str | None) -> bool:
    """Whether `found` shows each value of the row that Cyclr was sent, of which there is one at least: what is hidden shows
    nothing."""
    asked: list[tuple[str | None, str]] = []
    sent = auth_value(secrets)
    if sent is not None:
        asked.append((found.auth_value, sent))
    there = dict(found.properties)
    asked += [(there.get(name), value) for name, value in properties(secrets).items()]
    if description is not None:
        asked.append((found.description, description))
    return bool(asked) and all(shown == value for shown, value in asked)
