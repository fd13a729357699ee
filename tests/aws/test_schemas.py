"""The published JSON Schema says of its examples what the program says of them, in which a unit test reads the same file."""

import json
import pathlib

import jsonschema
import pytest

SCHEMAS = pathlib.Path(__file__).parents[2] / "docs" / "schemas"
EXAMPLES = json.loads((SCHEMAS / "trust-rules.examples.json").read_text())


def validator():
    schema = json.loads((SCHEMAS / "trust-rules.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("rule", EXAMPLES["valid"], ids=lambda rule: rule["name"])
def test_an_editor_has_nothing_to_say_of_a_good_rule(rule):
    for written in (rule, [rule], {"trust": [rule]}):
        validator().validate(written)


@pytest.mark.parametrize("rule", EXAMPLES["invalid"], ids=json.dumps)
def test_an_editor_marks_a_rule_that_is_refused(rule):
    for written in (rule, [rule], {"trust": [rule]}):
        assert not validator().is_valid(written)
