"""An independent fold of the history, as strangers read it: what the projections must come to."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from decimal import Decimal


@dataclass
class Call:
    """One call, from its events."""

    id: str
    tenant: str
    key: str
    scope: str | None
    model: str
    tags: list
    admitted_at: str
    ceiling: Decimal
    state: str = "open"
    outcome: str | None = None
    provider: str | None = None
    tokens: dict = field(default_factory=dict)
    cost: Decimal = Decimal(0)
    charge: Decimal = Decimal(0)
    total_ms: int = 0
    attempts: list = field(default_factory=list)
    user: str | None = None
    request_id: str | None = None
    trace_id: str | None = None


class Books:
    """Calls by id, and the names that they were made under."""

    def __init__(self, events):
        self.calls, self.keys, self.scopes, self.position = {}, {}, {}, 0
        for self.position, event in enumerate(events, 1):
            noun, what = event["type"].split(".")[1:3]
            if noun in ("key", "scope"):
                self.place(noun, what, event["data"])
            elif noun == "call":
                self.fold(what, event)

    def place(self, noun, what, data):
        known = self.keys if noun == "key" else self.scopes
        if what == "created":
            known[data[noun]] = dict(data)
        elif what == "moved":
            known[data[noun]].update(data)

    def fold(self, what, event):
        data, id = event["data"], event["subject"]
        if what == "admitted":
            assert id not in self.calls, f"{id} was admitted twice"
            scope = self.keys[data["key"]].get("scope")
            call = Call(id, event["tenant"], data["key"], scope, data["model"], data["tags"], event["time"], Decimal(data["ceiling"]["cost"]))
            call.user, call.request_id, call.trace_id = data["user"], data["request_id"], data["trace_id"]
            self.calls[id] = call
            return
        call = self.calls.get(id)
        if what == "extended":
            call.ceiling += Decimal(data["ceiling"]["cost"])
        elif what == "finished":
            assert call.state in ("open", "orphaned"), f"{id} has two records"
            call.state, call.outcome, call.provider = "finished", data["outcome"], data["provider"]
            call.tokens, call.cost, call.charge = data["usage"], Decimal(data["cost"]), Decimal(data["charge"])
            call.total_ms, call.attempts = data["total_ms"], data["attempt_list"]
        elif what == "released":
            assert call.state in ("open", "orphaned"), f"{id} has two records"
            call.state, call.cost = "released", Decimal(0)
        elif what == "orphaned":
            assert call.state == "open"
            call.state, call.cost = "orphaned", Decimal(data["cost"])

    def usage(self, by):
        """Sums by what `by` gives of a call: a name, or several."""
        sums = defaultdict(Counter)
        for call in self.calls.values():
            names = by(call)
            for name in names if isinstance(names, list) else [names]:
                row = sums[name]
                if call.state == "open":
                    continue
                row["finished"] += call.state == "finished"
                row[call.outcome or call.state] += 1
                row["cost"] += call.cost
                row["charge"] += call.charge
                row["output"] += call.tokens.get("output", 0)
                row["input"] += call.tokens.get("input", 0)
                row["total_ms"] += call.total_ms
        return {name: +row for name, row in sums.items() if +row}
