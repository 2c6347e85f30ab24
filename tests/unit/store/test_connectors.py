from worker.domain.connectors import AuthMethod, Connector, Parameter
from worker.store.connectors import fit

KEY = AuthMethod("m1", "Key", "ApiKey")
OAUTH = AuthMethod("m2", "Sign in", "OAuth2")


def region(**changes) -> Parameter:
    fields = {"id": 1, "target_name": "Region", "label": "Region", "is_account_property": True}
    return Parameter(**(fields | {"is_sensitive": False, "is_optional": True} | changes))


def release(*methods: AuthMethod, parameters: tuple[Parameter, ...] = ()) -> Connector:
    return Connector(7, "Acme CRM", "1.0", "Live", methods, parameters)


CHECKED = release(KEY, OAUTH, parameters=(region(),)).to_json()


def test_a_release_with_the_same_methods_and_properties_fits_as_it_is():
    assert fit(CHECKED, release(KEY, OAUTH, parameters=(region(),))) == {}


def test_a_method_with_a_new_id_is_known_by_its_name_and_type():
    renewed = release(AuthMethod("m9", "Key", "ApiKey"), OAUTH, parameters=(region(),))
    assert fit(CHECKED, renewed) == {"m1": "m9"}


def test_a_release_that_lost_a_method_does_not_fit():
    assert fit(CHECKED, release(KEY, parameters=(region(),))) is None


def test_a_method_that_could_be_either_of_two_does_not_fit():
    twins = (AuthMethod("m8", "Key", "ApiKey"), AuthMethod("m9", "Key", "ApiKey"))
    assert fit(CHECKED, release(*twins, OAUTH, parameters=(region(),))) is None


def test_a_release_that_lost_an_account_property_does_not_fit():
    assert fit(CHECKED, release(KEY, OAUTH)) is None
    assert fit(CHECKED, release(KEY, OAUTH, parameters=(region(is_account_property=False),))) is None


def test_more_methods_and_properties_do_no_harm():
    more = release(
        KEY, OAUTH, AuthMethod("m3", "Basic", "Basic"), parameters=(region(), region(target_name="Zone"))
    )
    assert fit(CHECKED, more) == {}
