//! Who asks, and what they may: the administrator's token that the process was started with, or one that the events know.

use super::Problem;
use crate::{App, shown_key};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use events::{
    State, TenantId, Timestamp, TokenId,
    envelope::Principal,
    key::KeyHash,
    token::{Need, Role, hashed_as},
};
use std::collections::BTreeSet;
use subtle::ConstantTimeEq;

/// The token that the process was started with, hashed: an owner of the platform, whatever happens to others.
pub struct Admin {
    hash: [u8; 32],
}

impl Admin {
    pub fn new(token: &str) -> Admin {
        Admin { hash: digest(token) }
    }

    fn is(&self, token: &str) -> bool {
        digest(token).ct_eq(&self.hash).into()
    }
}

fn digest(token: &str) -> [u8; 32] {
    use sha2::Digest;
    sha2::Sha256::digest(token.as_bytes()).into()
}

/// Somebody who was let in.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    pub principal: Principal,
    pub role: Role,
    /// None: of the platform, for all tenants.
    pub tenant: Option<TenantId>,
}

impl Access {
    /// The tenants that it may name, of all that there are.
    pub fn tenants(&self, state: &State) -> BTreeSet<TenantId> {
        state.books.tenants.iter().map(|(id, _)| *id).filter(|id| self.sees(Some(*id))).collect()
    }

    /// Whether it may see what belongs to this tenant; None: to the platform.
    pub fn sees(&self, tenant: Option<TenantId>) -> bool {
        self.tenant.is_none() || self.tenant == tenant
    }

    /// What belongs to all tenants together is for tokens of the platform.
    pub fn of_platform(&self) -> Result<(), Problem> {
        match self.tenant {
            None => Ok(()),
            Some(_) => {
                Err(Problem::new(StatusCode::FORBIDDEN, "platform_only", "this is for tokens of the platform; yours is of one tenant"))
            }
        }
    }
}

/// Who asks, whatever they may.
pub(super) async fn identify(app: &App, headers: &HeaderMap) -> Result<Access, Problem> {
    let token = shown_key(headers).ok_or_else(Problem::not_let_in)?;
    if app.admin.is(token) {
        return Ok(Access { principal: Principal::Admin(0), role: Role::Owner, tenant: None });
    }
    let (hash, now) = ((app.hasher)(&hashed_as(token)), app.reactor.core.clock.now());
    let found = app.reactor.core.look(move |state| find(state, &hash, now)).await;
    found.ok_or_else(Problem::stopping)?.ok_or_else(Problem::not_let_in)
}

/// Records that a change was refused. The token that the process was started with is in no record, and nothing is refused to it.
pub(super) async fn deny(app: &App, access: &Access, method: &Method, uri: &Uri) {
    if let Principal::Admin(id @ 1..) = access.principal {
        app.administration.deny(TokenId(id), format!("{method} {}", uri.path()), access.principal).await;
    }
}

/// Lets in who may do what needs this. A change that is refused is recorded.
pub(super) async fn let_in(app: &App, headers: &HeaderMap, need: Need, method: &Method, uri: &Uri) -> Result<Access, Problem> {
    let access = identify(app, headers).await?;
    if access.role.may(need) {
        return Ok(access);
    }
    if need.is_change() {
        deny(app, &access, method, uri).await;
    }
    let detail = format!("a token with the role {} may not do this", access.role.as_str());
    Err(Problem::new(StatusCode::FORBIDDEN, "role_not_allowed", detail))
}

fn find(state: &State, hash: &KeyHash, now: Timestamp) -> Option<Access> {
    let (id, token) = state.books.tokens.iter().find(|(_, token)| token.hash == *hash && token.is_live(now.max(state.desk.time())))?;
    let tenant = token.settings.tenant;
    let closed = tenant.is_some_and(|tenant| state.books.tenants.get(&tenant).is_none_or(|tenant| tenant.closed));
    (!closed).then_some(Access { principal: Principal::Admin(id.0), role: token.settings.role, tenant })
}
