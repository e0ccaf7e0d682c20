//! All routes, each with what the document says of it. A new route is a new entry here:
//!
//! ```ignore
//! post("/api/v1/keys/{name}/paint", "paint_key", entries::paint) // the handler, and the name of the function in clients
//!     .says("keys", "Paints a key.") // a heading of `document::TAGS`, and one sentence
//!     .needs(Need::Configure).of_platform() // who may: roles, 401, 403 and 503 follow
//!     .takes([word("colour", "Which.", &["red", "blue"])]) // parameters of the query and headers; those of the path follow
//!     .body_of::<schema::Paint>() // a type of `schema/`: 400, 408 and 413 follow
//!     .answers::<schema::Key>(200, "The key.") // or `.lists::<T>`, `.lists_view::<T>`, `.answers_text`
//!     .problems(&["not_found"]) // codes of `route/codes.rs`, beside those that follow by themselves
//! ```

use super::{
    Asking, Path, Sent, alerts, apply, audit, backup, bodies, budgets, calls, capabilities, document, entries, events, explain, export,
    ledger, platform, prices, projections, providers,
    route::{
        Route, Routes, at_least, chosen, delete, flag, get, if_match, if_none_match, names, order_by_time, owners, position, post, put,
        query, range, user, word, words,
    },
    schema, tokens, usage, webhooks,
};
use crate::health;
use ::events::token::Need;
use serde_json::json;
use utoipa::ToSchema;

const KINDS_OF_ALERTS: [&str; 8] =
    ["budget_threshold", "budget_overrun", "call_orphaned", "breaker_open", "projection_lag", "disk_low", "clock_step", "ledger_residual"];
const JSON: &str = "application/json";
const YAML: &str = "application/yaml";

/// Whether the node lives and takes calls: on every listener.
pub(crate) fn health() -> Routes {
    Routes::new()
        .with(
            get("/livez", "get_liveness", health::live)
                .says("node", "Whether the process answers.")
                .answers::<schema::Health>(200, "It does."),
        )
        .with(
            get("/readyz", "get_readiness", health::ready)
                .says("node", "Whether the node takes calls.")
                .answers::<schema::Health>(200, "It does.")
                .answers::<schema::Health>(503, "It does not: it is stopping, or its log takes nothing."),
        )
}

/// What administration's listener answers.
pub(crate) fn administration() -> Routes {
    Routes::new().all(node()).all(configured()).all(configuration()).all(questions()).all(history()).all(keepers())
}

/// All of them, for the document.
pub(super) fn every() -> Routes {
    health().joined(administration())
}

fn node() -> [Route; 4] {
    [
        get("/metrics", "get_metrics", health::metrics).says("node", "The node's figures, for Prometheus.").answers_text(
            200,
            "In Prometheus' text format.",
            "text/plain",
        ),
        get("/api/v1/openapi.json", "get_openapi", document::json)
            .says("node", "This document.")
            .answers::<schema::Document>(200, "OpenAPI 3.1."),
        get("/api/v1/docs", "get_docs", document::page).says("node", "This document as a page.").answers_text(
            200,
            "It needs nothing from elsewhere.",
            "text/html",
        ),
        get("/api/v1/capabilities", "list_capabilities", capabilities::list)
            .says("capabilities", "What becomes of each thing that one dialect can say, in the other.")
            .needs(Need::Bill)
            .answers_list::<schema::Capability>("All of them."),
    ]
}

/// Tenants, scopes, keys, providers and models: list, get, put and delete, one operation a kind.
fn configured() -> Vec<Route> {
    let mut routes = Vec::new();
    routes.extend(kind::<schema::Tenant>("tenants", "tenant", "TenantEntry", false));
    routes.extend(kind::<schema::Scope>("scopes", "scope", "ScopeEntry", true));
    routes.extend(kind::<schema::Key>("keys", "key", "KeyEntry", true));
    routes.extend(kind::<schema::Provider>("providers", "provider", "ProviderEntry", false));
    routes.extend(kind::<schema::Model>("models", "model", "ModelEntry", false));
    routes.extend(kind::<schema::Webhook>("webhooks", "webhook", "WebhookEntry", false));
    let act = |action: &'static str| {
        move |asking: Asking, Path(name): Path<String>, sent: Sent| entries::act(asking, Path((name, action.to_owned())), sent)
    };
    let acts = [
        ("block", Need::Operate, "Lets a key in no more, until it is unblocked."),
        ("unblock", Need::Operate, "Lets a blocked key in again."),
        ("rotate", Need::Configure, "Gives a key a new secret; the one before lets in for the overlap, if there is one."),
    ];
    routes.extend(acts.map(|(action, need, says)| {
        let path = format!("/api/v1/keys/{{name}}/{action}");
        let route =
            post(path, &format!("{action}_key"), act(action)).says("keys", says).needs(need).answers::<schema::Key>(200, "The key.");
        let route = route.tagged();
        let route = route.problems(&["not_found", "ambiguous", "invalid_configuration", "apply_stopped"]);
        if action == "rotate" {
            route.takes([if_match(), if_none_match()]).may_send::<schema::Rotation>().problems(&["changed"])
        } else {
            route
        }
    }));
    routes
}

/// `of_tenants`: a tenant's own administrators write them, too.
fn kind<T: ToSchema>(many: &'static str, one: &str, entry: &str, of_tenants: bool) -> [Route; 4] {
    let (all, each) = (format!("/api/v1/{many}"), format!("/api/v1/{many}/{{name}}"));
    [
        get(all, &format!("list_{many}"), entries::list)
            .says(many, format!("All {many} that are there."))
            .needs(Need::Read)
            .lists::<T>("A page of them.", &[]),
        get(each.clone(), &format!("get_{one}"), entries::get)
            .says(many, format!("One {one}."))
            .needs(Need::Read)
            .answers::<T>(200, "It is there.")
            .tagged()
            .problems(&["not_found", "ambiguous"]),
        put(each.clone(), &format!("put_{one}"), entries::put)
            .says(many, format!("Makes a {one}, or brings one to what is sent."))
            .more("What is sent is its entry of the configuration file, whole: what is left out is not there any more.")
            .needs(Need::Configure)
            .of_platform_unless(of_tenants)
            .takes([if_match(), if_none_match()])
            .body(entry, &[JSON])
            .answers::<T>(200, "It was there, and is as it was sent.")
            .answers::<T>(201, "It was made.")
            .tagged()
            .problems(&["not_found", "ambiguous", "changed", "invalid_configuration", "apply_stopped"]),
        delete(each, &format!("delete_{one}"), entries::delete)
            .says(many, format!("Takes a {one} away, for good: what hangs on it must go first."))
            .needs(Need::Configure)
            .of_platform_unless(of_tenants)
            .takes([if_match(), if_none_match()])
            .answers::<schema::Deleted>(200, "It is no more; its history and its id stay.")
            .problems(&["not_found", "ambiguous", "in_use", "changed", "invalid_configuration", "apply_stopped"]),
    ]
}

fn configuration() -> [Route; 12] {
    [
        get("/api/v1/webhooks/{name}/deliveries", "get_deliveries", webhooks::deliveries)
            .says("webhooks", "How deliveries to a webhook go.")
            .needs(Need::Read)
            .answers::<schema::Deliveries>(200, "Since this node started; `at` is how far it is.")
            .problems(&["not_found", "ambiguous"]),
        post("/api/v1/webhooks/{name}/test", "test_webhook", webhooks::test)
            .says("webhooks", "Sends a webhook an alert that says that it is a test, and tells what came of it.")
            .needs(Need::Operate)
            .answers::<schema::DeliveryTest>(200, "`delivered` says whether the receiver took it.")
            .problems(&["not_found", "ambiguous"]),
        post("/api/v1/providers/{name}/test", "test_provider", providers::test)
            .says("providers", "Asks a provider for its models, with its key. It is no call: nothing is recorded or charged.")
            .needs(Need::Operate)
            .answers::<schema::ProviderTest>(200, "What came of it; `ok` says whether it can be reached.")
            .problems(&["not_found", "ambiguous"]),
        get("/api/v1/platform", "get_platform", platform::get)
            .says("configuration", "What stands at the top of the configuration file: the platform's own budgets, and `loss`.")
            .needs(Need::Read)
            .of_platform()
            .answers::<schema::Platform>(200, "As it is.")
            .tagged(),
        put("/api/v1/platform", "put_platform", platform::put)
            .says("configuration", "Brings the platform's own budgets and rules to what is sent.")
            .more("What is left out is closed, or as it is by default.")
            .needs(Need::Configure)
            .of_platform()
            .takes([if_match(), if_none_match()])
            .body_of::<schema::PlatformEntry>()
            .answers::<schema::Platform>(200, "It is as it was sent.")
            .tagged()
            .problems(&["changed", "invalid_configuration", "apply_stopped"]),
        get("/api/v1/prices", "list_prices", prices::list)
            .says("models", "What models cost, and what says so: each candidate of each, in the order in which they are tried.")
            .needs(Need::Read)
            .takes([names("model", "Only this one."), names("tenant", "As keys of this tenant see it.")])
            .lists::<schema::Price>("A page of them.", &[]),
        get("/api/v1/prices/{*model}", "get_price", prices::get)
            .says("models", "What one model costs, under any name that a call may give.")
            .needs(Need::Read)
            .takes([names("tenant", "As keys of this tenant see it.")])
            .answers::<schema::ModelPrice>(200, "It is there.")
            .problems(&["not_found"]),
        post("/api/v1/apply", "apply", apply::post)
            .says("configuration", "Brings a configuration file into force, or says what it would change.")
            .more("What the file does not name stays, unless `prune` is asked for. With `dry_run` the role auditor is enough.")
            .needs(Need::Configure)
            .of_platform()
            .takes([flag("dry_run", "Only says what would change."), flag("prune", "Also takes away what the file does not name.")])
            .body("Configuration", &[JSON, YAML])
            .answers::<schema::Applied>(200, "It is in force, or could be.")
            .problems(&["invalid_configuration", "apply_stopped"]),
        get("/api/v1/export", "export_configuration", export::get)
            .says("configuration", "The whole configuration as a file that can be applied again, secrets as `keep`.")
            .needs(Need::Configure)
            .of_platform()
            .answers_named(200, "The file.", "Configuration")
            .answers_text(200, "The file.", YAML),
        get("/api/v1/tokens", "list_tokens", tokens::list)
            .says("tokens", "Tokens of administrators, also those that let nobody in any more.")
            .needs(Need::Read)
            .lists::<schema::Token>("A page of them.", &[]),
        post("/api/v1/tokens", "create_token", tokens::create)
            .says("tokens", "Makes a token; its secret is shown this once.")
            .needs(Need::Own)
            .body_of::<schema::NewToken>()
            .answers::<schema::Token>(201, "It was made.")
            .problems(&["not_found"]),
        delete("/api/v1/tokens/{id}", "revoke_token", tokens::revoke)
            .says("tokens", "Lets a token in no more, for good.")
            .needs(Need::Own)
            .answers::<schema::Token>(200, "It is revoked.")
            .problems(&["not_found"]),
    ]
}

fn questions() -> [Route; 9] {
    [
        get("/api/v1/calls/{id}/bodies", "get_call_bodies", bodies::get)
            .says("calls", "What was asked and answered, if the request log kept it. That it was read is recorded.")
            .needs(Need::ReadBodies)
            .answers::<schema::CallBodies>(200, "They are there.")
            .problems(&["not_found", "bodies_not_kept"]),
        delete("/api/v1/tenants/{name}/bodies", "erase_bodies", bodies::erase)
            .says("calls", "Erases what is kept of a tenant's calls, at once and for good.")
            .needs(Need::Configure)
            .answers::<schema::BodiesErased>(200, "They are gone.")
            .problems(&["not_found", "ambiguous"]),
        get("/api/v1/usage", "list_usage", usage::list)
            .says("usage", "What was used, by any dimension and step of time.")
            .needs(Need::Bill)
            .takes([
                words("group_by", "A row for each of these.", &["tenant", "scope", "key", "user", "model", "provider", "tag"]),
                word("step", "Rows by time, too.", &["hour", "day", "month"]),
                word("order", "As grouped unless said.", &["time", "name", "-cost", "-tokens", "-calls"]),
                user(),
            ])
            .takes(range("this month"))
            .takes(chosen())
            .lists_view::<schema::Usage>("A page of groups.", &["from", "until"])
            .problems(&["too_much"]),
        get("/api/v1/calls", "list_calls", calls::list)
            .says("calls", "Calls of the last 90 days, the last first.")
            .needs(Need::Read)
            .takes([
                words("status", "Only these.", &["open", "ok", "failed", "aborted", "released", "orphaned"]),
                user(),
                names("request_id", "Only the one that its caller calls so."),
                query("trace_id", "Only calls of this trace.", json!({"type": "string", "pattern": "^[0-9a-fA-F]{32}$"})),
                names("upstream_id", "Only the one that its provider calls so."),
                query(
                    "min_cost_usd",
                    "Only what cost so much, or more.",
                    json!({"type": "string", "pattern": "^[0-9]{1,9}(\\.[0-9]{1,12})?$", "examples": ["0.25"]}),
                ),
                query("min_total_ms", "Only what took so long, or longer.", json!({"type": "integer", "format": "int64", "minimum": 0})),
                order_by_time(),
            ])
            .takes(range("a day ago"))
            .takes(chosen())
            .lists_view::<schema::Call>("A page of them; it may have fewer rows than `limit` and yet more behind it.", &[]),
        get("/api/v1/calls/{id}", "get_call", calls::get)
            .says("calls", "One call, with the events that it is made of.")
            .needs(Need::Read)
            .takes([at_least()])
            .answers::<schema::CallWithEvents>(200, "It is there.")
            .problems(&["not_found"]),
        get("/api/v1/calls/{id}/explain", "explain_call", explain::get)
            .says("calls", "Why a call went where it went, and what it cost: its decision made again.")
            .needs(Need::Read)
            .answers::<schema::CallExplained>(200, "It is there.")
            .problems(&["not_found"]),
        get("/api/v1/budgets", "list_budgets", budgets::list)
            .says("budgets", "Budgets, each with its window of now.")
            .needs(Need::Bill)
            .takes([flag("closed", "Closed ones, too.")])
            .takes(owners())
            .lists_view::<schema::Budget>("A page of them.", &[]),
        get("/api/v1/budgets/{id}/windows", "list_budget_windows", budgets::list_windows)
            .says("budgets", "One budget in its past windows, the last first, each with the limit that it had then.")
            .needs(Need::Bill)
            .lists_view::<schema::Budget>("A page of windows.", &[])
            .problems(&["not_found"]),
        get("/api/v1/providers/health", "list_provider_health", providers::health)
            .says("providers", "How tries at providers went: how many, how they ended, how long they took.")
            .needs(Need::Read)
            .of_platform()
            .takes([words("group_by", "A row for each of these.", &["model", "hour"]), names("provider", "Only these providers.")])
            .takes(range("a day ago"))
            .lists_view::<schema::ProviderHealth>("A page of groups.", &[]),
    ]
}

fn history() -> [Route; 5] {
    [
        get("/api/v1/alerts", "list_alerts", alerts::list)
            .says("history", "What operators were to hear of, the last first.")
            .needs(Need::Read)
            .takes([
                words("kind", "Only these.", &KINDS_OF_ALERTS),
                word("state", "All unless said.", &["all", "open", "closed"]),
                names("tenant", "Only of these tenants."),
                order_by_time(),
            ])
            .takes(range("the beginning"))
            .lists_view::<schema::Alert>("A page of them.", &[]),
        get("/api/v1/backup", "get_backup", backup::get)
            .says("history", "The history and the state as of one position, sealed for a recipient, while the node serves.")
            .more("It is in the format of age, and so are recipients. One is made at a time.")
            .needs(Need::Configure)
            .of_platform()
            .takes([query("recipient", "Whose identities open it, separated by commas.", json!({"type": "string", "minLength": 1}))])
            .answers_text(200, "Sealed.", "application/octet-stream"),
        get("/api/v1/audit", "list_changes", audit::list)
            .says("history", "Who changed what, with what was there before.")
            .needs(Need::Read)
            .takes([
                names("kind", "Only these nouns, as `key,budget`."),
                names("subject", "Only what has this id."),
                names("tenant", "Only these tenants; then without what belongs to all."),
                order_by_time(),
            ])
            .takes(range("all"))
            .lists_view::<schema::AuditChange>("A page of changes.", &[]),
        get("/api/v1/events", "read_events", events::list)
            .says("history", "Every event as CloudEvents, a line each, from a position on.")
            .needs(Need::Read)
            .takes([
                position("from", "From then on; all unless said."),
                query(
                    "limit",
                    "1,000 unless said; 10,000 at most, however many are asked for.",
                    json!({"type": "integer", "format": "int64", "minimum": 1}),
                ),
            ])
            .answers_text(200, "An event a line. A token of a tenant sees its tenant's.", "application/jsonl")
            .problems(&["history_unreadable"]),
        get("/api/v1/ledger/proof", "prove_ledger", ledger::proof)
            .says("history", "That the books close: for each budget `limit = settled + held + free`.")
            .needs(Need::Bill)
            .of_platform()
            .answers::<schema::LedgerProof>(200, "What was proved, and at which position."),
    ]
}

fn keepers() -> [Route; 3] {
    [
        get("/api/v1/projections", "list_projections", projections::list)
            .says("projections", "The read models, and how far each is.")
            .needs(Need::Read)
            .of_platform()
            .lists::<schema::Projection>("A page of them.", &[]),
        get("/api/v1/projections/{name}", "get_projection", projections::get)
            .says("projections", "One read model, with a digest over its rows if asked.")
            .needs(Need::Read)
            .of_platform()
            .takes([flag("digest", "With a digest, which is equal after every rebuild.")])
            .answers::<schema::Projection>(200, "It is there.")
            .problems(&["not_found"]),
        post("/api/v1/projections/{name}/rebuild", "rebuild_projection", projections::rebuild)
            .says("projections", "Builds one anew from the whole history, while what there is serves.")
            .needs(Need::Operate)
            .of_platform()
            .answers::<schema::Projection>(202, "It was told.")
            .problems(&["not_found"]),
    ]
}
