"""An independent fold of the history, as strangers read it: what the projections must come to."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

FIGURES = {"USD": "cost", "tokens": "tokens", "requests": "requests"}


# an orphan can be replaced by a late record
ORPHAN_KEPT = timedelta(days=35)


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
    orphaned_at: datetime | None = None
    attempts: list = field(default_factory=list)
    user: str | None = None
    request_id: str | None = None
    trace_id: str | None = None
    holds: dict = field(default_factory=dict)

    @property
    def status(self):
        return self.outcome or self.state


class Books:
    """Calls by id, the names that they were made under, what budgets have of them by window, and all other events."""

    def __init__(self, events):
        self.calls, self.keys, self.scopes, self.budgets, self.position = {}, {}, {}, {}, 0
        self.windows, self.changes = defaultdict(Counter), []
        for self.position, event in enumerate(events, 1):
            noun, what = event["type"].split(".")[1:3]
            if noun == "call":
                self.fold(what, event)
                continue
            self.changes.append(event)
            if noun in ("key", "scope"):
                self.place(noun, what, event["data"])
            elif (noun, what) == ("budget", "opened"):
                self.budgets[event["data"]["budget"]] = dict(event["data"])
            elif (noun, what) == ("budget", "limit_set"):
                self.budgets[event["data"]["budget"]]["limit"] = event["data"]["limit"]

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
            for budget in data["budgets"]:
                self.hold(call, budget, self.figure(budget, data["ceiling"]))
            return
        call = self.calls.get(id)
        if what == "extended":
            call.ceiling += Decimal(data["ceiling"]["cost"])
            for add in data["adds"]:
                self.hold(call, add["budget"], Decimal(add["amount"]))
        elif what == "finished":
            assert call.state in ("open", "orphaned"), f"{id} has two records"
            apart = {other["budget"]: other["used"] for other in data["apart"]}
            self.settle(call, lambda budget, _: self.figure(budget, apart.get(budget, data)))
            call.state, call.outcome, call.provider = "finished", data["outcome"], data["provider"]
            call.tokens, call.cost, call.charge = data["usage"], Decimal(data["cost"]), Decimal(data["charge"])
            call.total_ms, call.attempts = data["total_ms"], data["attempt_list"]
        elif what == "released":
            assert call.state in ("open", "orphaned"), f"{id} has two records"
            self.settle(call, lambda *_: Decimal(0))
            call.state, call.cost = "released", Decimal(0)
        elif what == "orphaned":
            assert call.state == "open"
            self.settle(call, lambda _, held: held)
            for at in call.holds:
                self.windows[at]["orphans"] += 1
            call.state, call.cost, call.orphaned_at = "orphaned", Decimal(data["cost"]), datetime.fromisoformat(event["time"])

    def expire(self, now):
        """What stayed an orphan for so long stays one for good, from the next event on."""
        for call in self.calls.values():
            if call.state == "orphaned" and now - call.orphaned_at > ORPHAN_KEPT:
                for at in call.holds:
                    self.windows[at]["orphans"] -= 1

    def figure(self, budget, figures):
        return Decimal(figures[FIGURES[self.budgets[budget]["unit"]]])

    def window(self, budget, time):
        """The budget's window of a time."""
        return budget, window_start(self.budgets[budget]["every"], time)

    def hold(self, call, budget, amount):
        at = self.window(budget, call.admitted_at)
        self.windows[at]["held"] += amount
        self.windows[at]["open_calls"] += at not in call.holds
        call.holds[at] = call.holds.get(at, 0) + amount

    def settle(self, call, counts):
        """What it held comes free, and what it counts is settled; what a late record says takes the place of an orphan's charge."""
        for at, held in call.holds.items():
            window = self.windows[at]
            window["settled"] += counts(at[0], held)
            if call.state == "orphaned":
                window["settled"] -= held
                window["orphans"] -= 1
            else:
                window["held"] -= held
                window["open_calls"] -= 1

    def attempts(self):
        """Attempts by provider: their ends by class, cost and tokens."""
        found = defaultdict(Counter)
        for call in self.calls.values():
            for one in call.attempts:
                provider = found[one["provider"]]
                provider[end_class(one)] += 1
                provider["cost"] += Decimal(one["cost"])
                provider["tokens"] += one["tokens"]
        return {name: +ends for name, ends in found.items()}

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


def window_start(every, time):
    """When the window of a time begins, in UTC; weeks begin on Monday; None of one that has no end."""
    at = datetime.fromisoformat(time).astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    if every == "hour":
        return at
    at = at.replace(hour=0)
    return {"day": at, "week": at - timedelta(days=at.weekday()), "month": at.replace(day=1), "total": None}[every]


def end_class(attempt):
    """The class of health that an attempt's end counts in."""
    if attempt["end"] != "status":
        return {"cancelled": "ended_here", "cut": "ended_here"}.get(attempt["end"], attempt["end"])
    return "rate_limited" if attempt["status"] == 429 else "refused" if 400 <= attempt["status"] < 500 else "errors"


def assert_call_row(row, call):
    """A row of the list of calls says what the history says of the call."""
    assert (row["status"], row["tenant"], row["key_id"], row["scope_id"], row["model"], row["tags"]) == (call.status, call.tenant, call.key, call.scope, call.model, call.tags)
    assert (Decimal(row["cost"]["USD"]), Decimal(row["ceiling"]["USD"]), row["provider"]) == (call.cost, call.ceiling, call.provider)
    assert (row["at"], row["user"], row["request_id"], row["trace_id"]) == (call.admitted_at, call.user, call.request_id, call.trace_id)


def assert_windows(books, rows):
    """Rows of windows say what the history says, and none is missing."""
    told = {at: window for at, window in books.windows.items() if any(window.values())}
    found = {}
    for row in rows:
        at = (row["id"], row["starts_at"] and datetime.fromisoformat(row["starts_at"]))
        counts = {name: Decimal(row[name]) for name in ("settled", "held", "open_calls", "orphans")}
        assert Decimal(row["limit"]) == Decimal(row["free"]) + counts["settled"] + counts["held"]
        found[at] = {name: count for name, count in counts.items() if count}
    assert {at: counts for at, counts in found.items() if counts} == {at: {name: count for name, count in window.items() if count} for at, window in told.items()}


def assert_changes(books, rows):
    """Rows of the audit, the first first, are the events that are not of calls."""
    assert [(row["id"], row["type"], row["after"], row["at"]) for row in rows] == [(event["id"], event["type"], event["data"], event["time"]) for event in books.changes]


def assert_health(books, rows):
    """Rows of providers' health, one a provider, count the attempts of the history."""
    found = {}
    for row in rows:
        counts = Counter({name: count for name, count in row["attempts"].items() if name != "total"})
        assert row["attempts"]["total"] == counts.total()
        found[row["provider"]] = +(counts + Counter(cost=Decimal(row["cost"]["USD"]), tokens=row["tokens"]))
    assert {name: ends for name, ends in found.items() if ends} == books.attempts()
