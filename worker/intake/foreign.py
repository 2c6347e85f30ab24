"""What the product's columns are called in other languages: suggested, and never taken by itself."""

import unicodedata

# German, French and Spanish, without what does not count in a comparison.
_WORDS = {
    "account_id": "konto kontonummer kontonr kontoid kundennummer kundennr kundenid kunde accountnummer accountnr"
    " compte numerodecompte numerocompte idcompte identifiantducompte client numeroclient idclient"
    " cuenta numerodecuenta numerocuenta idcuenta iddecuenta cliente numerodecliente idcliente",
    "connector": "konnektor konektor verbinder anbindung connecteur conector",
    "connector_version": "konnektorversion versiondeskonnektors versionduconnecteur versiondelconector",
    "name": "bezeichnung nom nombre",
    "description": "beschreibung descripcion",
    "authentication": "authentifizierung anmeldeverfahren anmeldeart authentification autenticacion",
    "username": "benutzername benutzer nutzername anmeldename utilisateur nomdutilisateur identifiant usuario"
    " nombredeusuario",
    "password": "passwort kennwort motdepasse contrasena",
    "api_key": "apischlussel apischluessel schlussel schluessel cleapi cledapi cle claveapi clavedeapi clave",
    "access_token": "zugriffstoken zugangstoken jetondacces jeton tokendeacceso",
    "refresh_token": "aktualisierungstoken erneuerungstoken jetondactualisation tokendeactualizacion",
    "expires": "ablauf ablaufdatum gultigbis gueltigbis expiration datedexpiration caducidad vencimiento",
    "account_name": "kontoname kundenname firma firmenname nomducompte nomduclient nombredelacuenta nombredelcliente",
    "account_description": "kontobeschreibung descriptionducompte descripciondelacuenta",
    "account_timezone": "zeitzone fuseauhoraire zonahoraria",
    "reference": "referenz auftragsnummer referencia",
}
_MEANT = {word: column for column, words in _WORDS.items() for word in words.split()}


def find_meant(column: str) -> str | None:
    """The product's column that a word of another language stands for."""
    return _MEANT.get(_letters(column))


def _letters(text: str) -> str:
    return "".join(filter(str.isalpha, unicodedata.normalize("NFKD", text.casefold())))
