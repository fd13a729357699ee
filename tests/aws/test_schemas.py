"""The published JSON Schemas say of their examples what the program says of them, in which unit tests read the same files."""

import json
import pathlib

import jsonschema
import pytest

SCHEMAS = pathlib.Path(__file__).parents[2] / "docs" / "schemas"
EXAMPLES = json.loads((SCHEMAS / "trust-rules.examples.json").read_text())
FILES = json.loads((SCHEMAS / "declaration.examples.json").read_text())


def validator(name="trust-rules"):
    schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def files(kind):
    """Whole files, and for each value of a member a file whose one entry has it."""
    yield from FILES["documents"][kind]
    for entries, members in FILES["members"].items():
        for member, row in members.items():
            for value in row.get(kind, []):
                entry = {**FILES["entries"][entries], **row.get("with", {}), member: value}
                yield {**FILES["around"], entries: [entry]}


@pytest.mark.parametrize("rule", EXAMPLES["valid"], ids=lambda rule: rule["name"])
def test_an_editor_has_nothing_to_say_of_a_good_rule(rule):
    for written in (rule, [rule], {"trust": [rule]}):
        validator().validate(written)


@pytest.mark.parametrize("rule", EXAMPLES["invalid"], ids=json.dumps)
def test_an_editor_marks_a_rule_that_is_refused(rule):
    for written in (rule, [rule], {"trust": [rule]}):
        assert not validator().is_valid(written)


def test_an_editor_has_nothing_to_say_of_a_good_file():
    checked = validator("declaration")
    # What is refused for something else than its form is as good to an editor.
    for file in [*files("valid"), *files("refused")]:
        assert [error.message for error in checked.iter_errors(file)] == [], file


def test_an_editor_marks_a_file_that_is_refused_for_its_form():
    checked = validator("declaration")
    assert [file for file in files("invalid") if checked.is_valid(file)] == []


def test_an_editor_completes_every_member():
    schema = json.loads((SCHEMAS / "declaration.schema.json").read_text())
    for entries, members in FILES["members"].items():
        assert set(schema["$defs"][entries.removesuffix("s")]["properties"]) == set(members)
