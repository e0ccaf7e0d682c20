//! One request to administration: who asks, and what.

use super::{
    Access, Problem, access,
    ask::Ask,
    idempotency::Secret,
    page::{Page, Wanted},
    problem, read,
    sent::refused,
};
use crate::{App, Hasher};
use ::projections::Snapshot;
use axum::{
    extract::{FromRequestParts, Query},
    http::{HeaderMap, Method, Uri, request::Parts},
    response::Response,
};
use events::{Position, State, TenantId, Timestamp, token::Need};
use std::{collections::BTreeMap, time::Duration};

/// See the module.
pub(crate) struct Asking {
    pub app: App,
    pub headers: HeaderMap,
    pub uri: Uri,
    method: Method,
    given: BTreeMap<String, String>,
    /// Of what the request makes, if it came under an idempotency key.
    secret: Option<String>,
}

impl FromRequestParts<App> for Asking {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Asking, Response> {
        let given = Query::from_request_parts(parts, app).await;
        let Query(pairs): Query<Vec<(String, String)>> = given.map_err(|why| refused(app, Problem::parameter("query", why.body_text())))?;
        let mut given = BTreeMap::new();
        for (name, value) in pairs {
            if given.insert(name.clone(), value).is_some() {
                return Err(refused(app, Problem::parameter(&name, "is given twice; several values are separated by commas")));
            }
        }
        let (method, uri, headers) = (parts.method.clone(), parts.uri.clone(), parts.headers.clone());
        let secret = parts.extensions.get::<Secret>().map(|secret| secret.0.clone());
        Ok(Asking { app: app.clone(), headers, uri, method, given, secret })
    }
}

/// What happens while a question is answered lies so far ahead at most, whatever clocks say.
pub(super) const AHEAD: Duration = Duration::from_secs(3_600);

/// A question: what is left to be read of the parameters, and when it is asked.
pub(crate) struct Question<'a> {
    pub ask: &'a mut Ask,
    pub now: Timestamp,
    pub wanted: &'a Wanted,
    pub hasher: &'a Hasher,
}

impl Question<'_> {
    /// The time that is asked about; without an end also what happens while this is read.
    pub fn range(&mut self, since: Timestamp) -> Result<(Timestamp, Timestamp), Problem> {
        self.ask.range(self.now, self.now.plus(AHEAD), since)
    }
}

impl Asking {
    /// Lets in who may do what needs this.
    pub async fn let_in(&self, need: Need) -> Result<Access, Problem> {
        access::let_in(&self.app, &self.headers, need, &self.method, &self.uri).await
    }

    /// As [`Asking::let_in`], for a change that is for tokens of the platform alone: a refused one is recorded.
    pub async fn let_in_platform(&self, need: Need) -> Result<Access, Problem> {
        let access = self.let_in(need).await?;
        let allowed = access.of_platform();
        if need.is_change() {
            self.recorded(&access, allowed).await?
        } else {
            allowed?
        }
        Ok(access)
    }

    /// What is refused to a tenant's token is recorded.
    pub async fn recorded<T>(&self, access: &Access, asked: Result<T, Problem>) -> Result<T, Problem> {
        if asked.as_ref().is_err_and(Problem::is_refusal) && access.tenant.is_some() {
            access::deny(&self.app, access, &self.method, &self.uri).await;
        }
        asked
    }

    /// The secret for what this request makes.
    pub fn secret(&self) -> String {
        self.secret.clone().unwrap_or_else(|| self.app.administration.make_secret())
    }

    /// Whether the request may have been carried out before, and made something with its secret then.
    pub fn made_before(&self) -> Option<&str> {
        self.secret.as_deref()
    }

    pub fn ask(&self) -> Ask {
        Ask::new(self.given.clone())
    }

    pub fn now(&self) -> Timestamp {
        self.app.reactor.core.clock.now()
    }

    /// Looks at the state, on the core thread: only at what is quickly seen.
    pub async fn look<R: Send + 'static>(&self, look: impl FnOnce(&State) -> R + Send + 'static) -> Result<R, Problem> {
        self.app.reactor.core.look(look).await.ok_or_else(Problem::stopping)
    }

    /// An open tenant by its name or id, of those that may be named.
    ///
    /// # Errors
    /// There is none.
    pub async fn tenant(&self, access: &Access, name: String) -> Result<TenantId, Problem> {
        let (wanted, access) = (name.clone(), access.clone());
        let look = move |state: &State| {
            let mut tenants = state.books.tenants.iter().filter(|(id, tenant)| !tenant.closed && access.sees(Some(**id)));
            tenants.find(|(id, tenant)| tenant.name == wanted || id.to_string() == wanted).map(|(id, _)| *id)
        };
        self.look(look).await?.ok_or_else(|| Problem::parameter("tenant", format!("there is no tenant `{name}`")))
    }

    /// An answer, or a problem in its own form.
    pub async fn answered(&self, answer: impl Future<Output = Result<Response, Problem>>) -> Response {
        let id = self.app.new_call_id().to_string();
        match answer.await {
            Ok(response) => problem::with_id(response, &id),
            Err(problem) => problem.response(&id),
        }
    }

    /// A list that a projection knows. The question is read first, then rows are made where the projection's are.
    pub async fn listed<Q: Send + 'static>(
        &self,
        view: &str,
        need: Need,
        question: impl FnOnce(Question<'_>) -> Result<Q, Problem>,
        rows: impl FnOnce(Q, Wanted, &Snapshot<'_>, &Access) -> Result<Page, Problem> + Send + 'static,
    ) -> Response {
        let answer = async {
            let access = self.let_in(need).await?;
            let mut ask = self.ask();
            let (at_least, wanted) = (ask.at_least()?, Wanted::read(&mut ask, &self.headers)?);
            let question = question(Question { ask: &mut ask, now: self.now(), wanted: &wanted, hasher: &self.app.hasher })?;
            ask.end()?;
            let form = wanted.form;
            let page = read(&self.app, view, at_least, move |snapshot| {
                let page = rows(question, wanted, snapshot, &access)?;
                Ok(page.saying("at", Position::new(snapshot.next()).to_string()))
            });
            Ok(page.await?.response(form))
        };
        self.answered(answer).await
    }
}
