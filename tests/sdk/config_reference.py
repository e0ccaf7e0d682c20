"""Writes deploy/docs/configuration.md: a short head, and a table a noun from cluster-config/schema.json."""

import json
import sys

from conftest import ROOT

SCHEMA = json.loads((ROOT / "cluster-config/schema.json").read_text())
PAGE = ROOT / "deploy/docs/configuration.md"

HEAD = """\
# Configuration

For whoever writes the file that `tollgate serve -f` and `tollgate apply -f` read. YAML or JSON; the tables below are generated from
`cluster-config/schema.json`, which editors can use as it is. How a file is applied is in [administration](administration.md).

```yaml
providers:
  - {name: openai, dialect: openai, base_url: https://api.openai.com/v1, api_key: "${OPENAI_API_KEY}"}
  - {name: local, dialect: openai, base_url: "http://10.0.0.7:8000/v1", price: {input_per_mtok: "0", output_per_mtok: "0"}, timeouts: {first_byte: 60s}}
models:
  - {name: mini, targets: [{provider: openai, model: gpt-4o-mini}, {provider: local, model: llama}]}
tenants:
  - {name: acme, budgets: [{limit: "500 USD", every: month}], rpm_limit: 10000}
scopes:
  - {name: search, kind: team, parent: acme, budgets: [{limit: "50 USD", every: day, alert_at: ["0.8"]}, {limit: "20 USD", every: day, only: {providers: [openai]}}]}
keys:
  - {name: search-dev, scope: search, models: [mini, "local/*"], rpm_limit: 600, budgets: [{limit: "1000 requests", every: day}]}
```

* Everything is optional but what a table marks *required*. A field that is not known, a name that stands for nothing, a circle or a
  duplicate is an error with its path; all errors are told at once and nothing is applied.
* `${NAME}` is filled in from the environment of whoever applies, `$$` is a dollar sign. In a provider's `headers` it is an error: they are not
  sealed. Providers' keys are stored sealed, keys' secrets as keyed hashes.
* `keep` as a provider's `api_key`, or as the `secret` of a key or webhook, leaves what is there as it is; so does leaving the field out.
* An entry that the file does not name stays, unless it is applied with `--prune`. One that it names is what it says: a plain field that is left
  out is as by default (no `rpm_limit`, no `request_log`); its budgets stay. A budget is the same budget while its owner, unit, window and
  `only` are the same; its limit, `hard` and `alert_at` may change under it.
* A model's targets are tried in order. A model that no entry names can be called as `provider/model`.
* A price is the target's, else the model's, else the catalogue's, else the provider's. Where a budget in USD covers a call, a model without
  a price is refused (`model_unpriced`). The catalogue of OpenAI's and Anthropic's prices comes with the build and is taken in once.
* A call's key, its scopes and its tenant all limit it: rates and budgets of each must have room.
* With no file, `tollgate serve` has each provider whose usual variable (`OPENAI_API_KEY`, `ANTHROPIC_API_KEY`, …) is set, and a tenant
  and a key `default`, whose secret is printed once.
"""

# Texts of one form: what a table calls them, and an example.
FORMS = {
    r"^[^\s/*,=]+$": ("name", "`search-prod`"),
    r"^[^\s*,=]*\*?[^\s*,=]*$": ("model's name", "`gpt-4o-mini`, `anthropic/*`"),
    r"^[^\s/*,=]+(/[^\s/*,=]*)?$": ("place", "`search`, `acme/search`, `acme/`"),
    r"^https?://[^\s?#@]+$": ("address", "`https://api.openai.com/v1`"),
    r"^[!-~]+$": ("visible characters", "`sk-my-own-secret`"),
    r"^\s*([0-9]+(\.[0-9]+)?\s+USD|[0-9]+\s+(tokens?|requests?))\s*$": ("limit", "`50 USD`, `100000 tokens`, `1000 requests`"),
    r"^(0(\.[0-9]{1,6})?|1(\.0+)?)$": ("share", "`0.8`"),
    r"^[^\s,=]+=[^\s,]+$": ("tag", "`app=search`"),
    r"^[0-9]+$": ("count", "`600`"),
    r"^[0-9]+(h|d)$": ("hours or days", "`12h`, `7d`"),
    r"^[0-9]+(ms|s|m)$": ("duration", "`500ms`, `120s`, `10m`"),
    r"^[0-9]+(\.[0-9]+)?$": ("decimal", '`"0.15"`'),
}


def cell(text):
    return text.replace("|", r"\|")


def bounds(schema):
    """How long a text may be."""
    least, most = schema.get("minLength", 0), schema.get("maxLength")
    if most is None:
        return ""
    return f", {least} to {most} characters" if least > 1 else f", at most {most} characters"


def kind(schema):
    """What a value is, in a word or two."""
    if reference := schema.get("$ref"):
        noun = reference.rsplit("/", 1)[1]
        target = SCHEMA["$defs"][noun]
        return f"[{noun}](#{noun})" if target.get("type") == "object" else kind(target)
    if "enum" in schema:
        return ", ".join(f"`{word}`" for word in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "anyOf" in schema:
        return " or ".join(kind(each) for each in schema["anyOf"])
    if schema.get("type") == "array":
        most = f", at most {schema['maxItems']}" if "maxItems" in schema else ""
        return f"list of {kind(schema['items'])}{', at least one' if schema.get('minItems') else ''}{most}"
    if schema.get("type") == "object":
        most = f", at most {schema['maxProperties']}" if "maxProperties" in schema else ""
        return f"map of {kind(schema['additionalProperties'])}{most}"
    if schema.get("type") == "boolean":
        return "`true`, `false`"
    pattern = schema.get("pattern")
    return (FORMS[pattern][0] if pattern in FORMS else f"`{pattern}`" if pattern else "text") + bounds(schema)


def meaning(schema, name, noun):
    words = [schema.get("description", "")]
    target = SCHEMA["$defs"].get(schema.get("$ref", "").rsplit("/", 1)[-1], {})
    if not words[0] and target.get("type") != "object":
        words = [target.get("description", "")]
    if name in noun.get("required", []):
        words.insert(0, "*Required.*")
    if "default" in schema:
        words.append(f"Default: `{json.dumps(schema['default']).strip(chr(34))}`.")
    return " ".join(word for word in words if word)


def table(noun):
    rows = [f"| `{name}` | {cell(kind(schema))} | {cell(meaning(schema, name, noun))} |" for name, schema in noun["properties"].items()]
    return "\n".join(["| Field | Value | Meaning |", "|---|---|---|", *rows])


def section(title, noun):
    words = noun.get("description")
    return "\n\n".join([f"## {title}", *([words] if words else []), table(noun)])


def patterns(schema):
    """Every pattern of a part of the schema."""
    if isinstance(schema, list):
        return set().union(*map(patterns, schema)) if schema else set()
    if not isinstance(schema, dict):
        return set()
    own = {schema["pattern"]} if isinstance(schema.get("pattern"), str) else set()
    return own.union(*map(patterns, schema.values()))


def forms():
    used = patterns(SCHEMA)
    rows = [f"| {word} | {example} | `{cell(pattern)}` |" for pattern, (word, example) in FORMS.items() if pattern in used]
    return "\n".join(["## Values", "", "| Value | As | Pattern |", "|---|---|---|", *rows])


def page():
    nouns = [(name, noun) for name, noun in SCHEMA["$defs"].items() if noun.get("type") == "object"]
    top = "\n\n".join(["## The file", table(SCHEMA)])
    return "\n\n".join([HEAD.rstrip(), top, *(section(name, noun) for name, noun in nouns), forms()]) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
    sys.stdout.write(f"{PAGE}\n")
