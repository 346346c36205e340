"""Claims made up for tests."""

from tailbound.theory.core.claims import Claim, Kind, Relation


def synthetic(check, **attributes) -> Claim:
    """A claim that never enters the registry."""
    given = {"relation": Relation.EQUAL, "wrong": {"some": {}}, "kind": Kind.EXACT, **attributes}
    return Claim(**{"id": "test.synthetic", "source": "s", "formula": "f", "statement": "t", "check": check, **given})


def error_text(excinfo) -> str:
    text = str(excinfo.value)
    assert "\n" not in text
    return text
