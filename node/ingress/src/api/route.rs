//! A route, and what the OpenAPI document says of it: one entry makes both, so that there is no route without its description.
//! Who may ask, and every problem that follows from that, from a path, a question or a body, is filled in by itself.

mod codes;
mod parameters;

pub(super) use codes::CODES;
pub(super) use parameters::*;

use super::schema;
use crate::App;
use axum::{
    Router,
    handler::Handler,
    routing::{MethodFilter, MethodRouter, on},
};
use events::token::{Need, Role};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use utoipa::ToSchema;

const PROBLEM: &str = "application/problem+json";

/// Routes with their part of the document.
pub(crate) struct Routes {
    router: Router<App>,
    /// Operations by path and method.
    paths: BTreeMap<String, Map<String, Value>>,
    schemas: BTreeMap<String, Value>,
}

impl Routes {
    pub fn new() -> Routes {
        Routes { router: Router::new(), paths: BTreeMap::new(), schemas: BTreeMap::new() }
    }

    pub fn with(mut self, route: Route) -> Routes {
        let Route { path, method, handler, operation } = route.once();
        self.router = self.router.route(&path, handler);
        self.schemas.extend(operation.schemas.clone());
        let described = operation.described(&path);
        let path = path.replace("{*", "{"); // the rest of a path, with its slashes
        self.paths.entry(path).or_default().insert(method.into(), described);
        self
    }

    pub fn all(self, routes: impl IntoIterator<Item = Route>) -> Routes {
        routes.into_iter().fold(self, Routes::with)
    }

    pub fn joined(mut self, other: Routes) -> Routes {
        self.router = self.router.merge(other.router);
        self.paths.extend(other.paths);
        self.schemas.extend(other.schemas);
        self
    }

    pub fn router(self) -> Router<App> {
        self.router
    }

    /// Paths and schemas, as the document has them.
    pub fn described(self) -> (BTreeMap<String, Map<String, Value>>, BTreeMap<String, Value>) {
        (self.paths, self.schemas)
    }
}

/// One method of one path.
pub(crate) struct Route {
    path: String,
    method: &'static str,
    handler: MethodRouter<App>,
    operation: Operation,
}

/// What is said of it.
#[derive(Default)]
struct Operation {
    id: String,
    tag: &'static str,
    says: String,
    more: &'static str,
    need: Option<Need>,
    of_platform: bool,
    parameters: Vec<Value>,
    body: Option<Value>,
    answers: BTreeMap<u16, Value>,
    codes: Vec<&'static str>,
    schemas: BTreeMap<String, Value>,
}

fn route<H: Handler<T, App>, T: 'static>(
    filter: MethodFilter,
    method: &'static str,
    path: impl Into<String>,
    id: &str,
    handler: H,
) -> Route {
    let operation = Operation { id: id.into(), ..Operation::default() };
    Route { path: path.into(), method, handler: on(filter, handler), operation }
}

/// `id` is the name of the function in a generated client.
pub(super) fn get<H: Handler<T, App>, T: 'static>(path: impl Into<String>, id: &str, handler: H) -> Route {
    route(MethodFilter::GET, "get", path, id, handler)
}

pub(super) fn post<H: Handler<T, App>, T: 'static>(path: impl Into<String>, id: &str, handler: H) -> Route {
    route(MethodFilter::POST, "post", path, id, handler)
}

pub(super) fn put<H: Handler<T, App>, T: 'static>(path: impl Into<String>, id: &str, handler: H) -> Route {
    route(MethodFilter::PUT, "put", path, id, handler)
}

pub(super) fn delete<H: Handler<T, App>, T: 'static>(path: impl Into<String>, id: &str, handler: H) -> Route {
    route(MethodFilter::DELETE, "delete", path, id, handler)
}

impl Route {
    /// Under which heading it stands, and what it does in one sentence.
    pub fn says(mut self, tag: &'static str, sentence: impl Into<String>) -> Route {
        (self.operation.tag, self.operation.says) = (tag, sentence.into());
        self
    }

    /// What a caller has to know besides.
    pub fn more(mut self, text: &'static str) -> Route {
        self.operation.more = text;
        self
    }

    /// Which tokens may. The problems of this follow: 401, 403, and what every such route can answer.
    pub fn needs(mut self, need: Need) -> Route {
        self.operation.need = Some(need);
        self.problems(&["invalid_parameter", "invalid_admin_token", "headers_too_large", "unavailable"]).problems(if need == Need::Bill {
            &[]
        } else {
            &["role_not_allowed"]
        })
    }

    /// Not for tokens of one tenant.
    pub fn of_platform(mut self) -> Route {
        self.operation.of_platform = true;
        self.problems(&["platform_only"])
    }

    /// Not for tokens of one tenant, unless its own administrators may.
    pub fn of_platform_unless(self, of_tenants: bool) -> Route {
        if of_tenants { self } else { self.of_platform() }
    }

    pub fn takes(mut self, parameters: impl IntoIterator<Item = Value>) -> Route {
        self.operation.parameters.extend(parameters);
        self
    }

    /// A body by the name of its schema, in each of these forms.
    pub fn body(mut self, schema: &str, forms: &[&str]) -> Route {
        let content: Map<String, Value> = forms.iter().map(|form| ((*form).to_owned(), json!({"schema": reference(schema)}))).collect();
        self.operation.body = Some(json!({"required": true, "content": content}));
        self.problems(&["request_too_large", "request_timeout", "incomplete_body", "invalid_body"])
    }

    /// A body of a type, if there is any.
    pub fn may_send<T: ToSchema>(self) -> Route {
        let mut route = self.body_of::<T>();
        if let Some(body) = &mut route.operation.body {
            body["required"] = false.into();
        }
        route
    }

    /// Every write takes an idempotency key.
    fn once(mut self) -> Route {
        if self.method == "get" || self.operation.need.is_none() {
            return self;
        }
        self.operation.answers.values_mut().for_each(|answer| answer["headers"]["idempotent-replayed"] = header("idempotent-replayed"));
        let codes = ["idempotency_in_flight", "idempotency_key_reused", "request_too_large", "request_timeout", "incomplete_body"];
        self.takes([idempotency_key()]).problems(&codes)
    }

    /// A body of a type.
    pub fn body_of<T: ToSchema>(mut self) -> Route {
        schema::collect::<T>(&mut self.operation.schemas);
        self.body(&T::name(), &["application/json"])
    }

    /// What comes back when all is well.
    pub fn answers<T: ToSchema>(mut self, status: u16, says: &str) -> Route {
        let name = schema::collect::<T>(&mut self.operation.schemas);
        self.answers_named(status, says, &name)
    }

    /// The same, by the name of its schema.
    pub fn answers_named(mut self, status: u16, says: &str, schema: &str) -> Route {
        let content = json!({"application/json": {"schema": reference(schema)}});
        self.operation.answers.insert(status, json!({"description": says, "content": content, "headers": {}}));
        self
    }

    /// A list that is no page: all its rows, always.
    pub fn answers_list<T: ToSchema>(mut self, says: &str) -> Route {
        let row = schema::collect::<T>(&mut self.operation.schemas);
        let (name, list) = schema::list(&row, &[]);
        self.operation.schemas.insert(name.clone(), list);
        self.answers_named(200, says, &name)
    }

    /// A text of some kind, beside what else there is.
    pub fn answers_text(mut self, status: u16, says: &str, form: &str) -> Route {
        let answer = self.operation.answers.entry(status).or_insert_with(|| json!({"description": says, "content": {}, "headers": {}}));
        answer["content"][form] = json!({"schema": {"type": "string"}});
        self
    }

    /// A page of rows, in three forms; `about` is said beside them. Takes `limit` and `cursor`.
    pub fn lists<T: ToSchema>(mut self, says: &str, about: &[&str]) -> Route {
        let row = schema::collect::<T>(&mut self.operation.schemas);
        let (name, list) = schema::list(&row, about);
        self.operation.schemas.insert(name.clone(), list);
        let content = json!({
            "application/json": {"schema": reference(&name)},
            "application/jsonl": {"schema": {"type": "string", "description": format!("A row a line, each a {row}.")}},
            "text/csv": {"schema": {"type": "string", "description": "A column a value, as `cost.USD`."}},
        });
        self.operation.answers.insert(
            200,
            json!({"description": says, "content": content, "headers": {"x-tollgate-next-cursor": header("x-tollgate-next-cursor")}}),
        );
        self.takes([limit(), cursor()])
    }

    /// A page of rows that a projection knows: it may be waited for, and says what it shows.
    pub fn lists_view<T: ToSchema>(self, says: &str, about: &[&str]) -> Route {
        self.lists::<T>(says, &[&["at"], about].concat()).takes([at_least()])
    }

    /// What is answered when all is well has the header `etag`.
    pub fn tagged(mut self) -> Route {
        for answer in self.operation.answers.values_mut() {
            answer["headers"]["etag"] = header("etag");
        }
        self
    }

    /// What else can go wrong, by code.
    pub fn problems(mut self, codes: &[&'static str]) -> Route {
        self.operation.codes.extend(codes);
        self
    }
}

pub(super) fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

/// Parameters that stand in a path.
fn in_path(path: &str) -> impl Iterator<Item = Value> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).map(|name| {
        let name = name.trim_start_matches('*');
        let says = if name == "name" {
            "Its name, or its id; `tenant/name`, with the slash as `%2F`, where two tenants have it."
        } else {
            "Its id."
        };
        json!({"name": name, "in": "path", "required": true, "description": says, "schema": {"type": "string", "minLength": 1}})
    })
}

impl Operation {
    fn described(self, path: &str) -> Value {
        let mut parameters: Vec<Value> = in_path(path).collect();
        parameters.extend(self.parameters.iter().cloned());
        let mut described = json!({
            "operationId": self.id, "tags": [self.tag], "summary": self.says, "description": self.description(), "responses": self.responses(),
        });
        if !parameters.is_empty() {
            described["parameters"] = parameters.into();
        }
        if let Some(need) = self.need {
            described["security"] = json!([{"token": []}]);
            described["x-roles"] = roles(need).into();
        }
        if let Some(body) = self.body {
            described["requestBody"] = body;
        }
        described
    }

    fn description(&self) -> String {
        let who = match (self.need, self.of_platform) {
            (None, _) => "Needs no token.".to_owned(),
            (Some(need), of_platform) => {
                let kind = if of_platform { "token of the platform" } else { "token" };
                let role = if need == Need::Bill { "any role".into() } else { format!("the role {}", roles(need).join(" or ")) };
                format!("Needs a {kind} with {role}.")
            }
        };
        if self.more.is_empty() { who } else { format!("{} {who}", self.more) }
    }

    fn responses(&self) -> BTreeMap<String, Value> {
        let mut by_status: BTreeMap<u16, BTreeMap<&str, &str>> = BTreeMap::new();
        for code in &self.codes {
            let known = CODES.iter().find(|known| known.code == *code).expect("a test looks up every code that a route names");
            by_status.entry(known.status).or_default().insert(known.code, known.means);
        }
        let problems = by_status.into_iter().map(|(status, codes)| {
            let says: Vec<String> = codes.iter().map(|(code, means)| format!("`{code}`: {means}.")).collect();
            let content = json!({PROBLEM: {"schema": reference("Problem")}});
            (status, json!({"description": says.join(" "), "content": content, "headers": {}, "x-codes": codes.keys().collect::<Vec<_>>()}))
        });
        let all = self.answers.clone().into_iter().chain(problems);
        all.map(|(status, answer)| (status.to_string(), self.with_headers(status, answer))).collect()
    }

    fn with_headers(&self, status: u16, mut answer: Value) -> Value {
        if self.need.is_some() {
            answer["headers"]["x-request-id"] = header("x-request-id");
        }
        if self.need.is_some() && status == 503 {
            answer["headers"]["retry-after"] = header("retry-after");
        }
        if answer["headers"].as_object().is_some_and(Map::is_empty)
            && let Some(members) = answer.as_object_mut()
        {
            members.remove("headers");
        }
        answer
    }
}

/// Headers of answers; the first three are on every answer that names them.
pub(super) fn headers() -> Value {
    let header = |says: &str, required: bool, schema: Value| json!({"description": says, "required": required, "schema": schema});
    json!({
        "x-request-id": header("The id of this request, as lines of the log have it.", true, json!({"type": "string"})),
        "retry-after": header("Seconds.", true, json!({"type": "string", "pattern": "^[0-9]+$"})),
        "etag": header("What it is told from another state of it by.", true, json!({"type": "string"})),
        "idempotent-replayed": header("This is the answer to the first request under this key.", false, json!({"type": "string", "enum": ["true"]})),
        "x-tollgate-next-cursor": header("The next cursor, if there is one.", false, json!({"type": "string"})),
    })
}

fn header(name: &str) -> Value {
    json!({"$ref": format!("#/components/headers/{name}")})
}

fn roles(need: Need) -> Vec<&'static str> {
    Role::ALL.into_iter().rev().filter(|role| role.may(need)).map(Role::as_str).collect()
}
