"""Holds answers against the OpenAPI document: status, kind, headers, code, and every member of a body."""

import json
import re
import subprocess

from conftest import BINARY
from jsonschema import Draft202012Validator, FormatChecker

METHODS = ("get", "put", "post", "delete", "patch")


def printed():
    return subprocess.run([BINARY, "openapi"], capture_output=True, text=True, check=True).stdout


def closed(schema):
    """The same, without members that it does not name: what is answered and not described is found."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {name: closed(part) for name, part in schema.items()}
    if isinstance(schema.get("properties"), dict) and "type" in schema:
        schema.setdefault("additionalProperties", False)
    return schema


class Document:
    def __init__(self, text):
        self.text = text
        self.whole = json.loads(text)
        self.paths = self.whole["paths"]
        self.parts = {"components": {"schemas": {name: closed(part) for name, part in self.whole["components"]["schemas"].items()}}}
        self.asked = set()

    def operations(self):
        return [(method, path, operation) for path, item in self.paths.items() for method, operation in item.items()]

    def operation(self, method, path):
        """The one that a request meant: what has fewer parameters is meant first."""
        fits = lambda template: re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path)
        template = min(filter(fits, self.paths), key=lambda template: template.count("{"))
        return template, self.paths[template][method]

    def problems(self, schema, value):
        found = Draft202012Validator({**schema, **self.parts}, format_checker=FormatChecker()).iter_errors(value)
        return [f"{'/'.join(map(str, error.absolute_path))}: {error.message}"[:300] for error in found]

    def hold(self, answer):
        """An answer is one that its operation describes."""
        method, path = answer.request.method.lower(), answer.request.url.raw_path.decode().split("?")[0]
        template, operation = self.operation(method, path)
        said = operation["responses"].get(str(answer.status_code))
        assert said, f"{method} {template}: {answer.status_code} is not described: {answer.text[:300]}"
        kind = answer.headers["content-type"].split(";")[0]
        assert kind in said["content"], f"{method} {template}: {answer.status_code} as {kind} is not described"
        for name in said.get("headers", {}):
            header = self.whole["components"]["headers"][name]
            assert not header.get("required") or name in answer.headers, f"{method} {template}: no {name}"
        if kind.endswith("json"):
            body = answer.json()
            assert (wrong := self.problems(said["content"][kind]["schema"], body)) == [], f"{method} {template}: {wrong}"
            assert kind != "application/problem+json" or body["code"] in said["x-codes"], f"{method} {template}: {body}"
        if answer.is_success:
            self.asked.add(operation["operationId"])
        return answer
