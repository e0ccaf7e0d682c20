//! What a caller says of itself: for whom it calls, and its own ids of the request.

use crate::Hasher;
use actors::trace::Context;
use events::{TenantId, UserId, call::Caller, limits};
use http::{HeaderMap, HeaderValue};

/// For whom a call is made, where the body does not say it.
const USER: &str = "x-tollgate-user";
/// Where callers name their requests; the first that is there counts.
const REQUEST_IDS: [&str; 2] = ["x-request-id", "x-client-request-id"];

/// The name in the header `x-tollgate-user` cannot be taken.
pub(crate) struct BadUser;

/// Gathers it from a request. The name in a header counts before the one in the body.
///
/// # Errors
/// See [`BadUser`].
pub(crate) fn caller(hasher: &Hasher, tenant: TenantId, headers: &HeaderMap, in_body: Option<&str>) -> Result<Caller, BadUser> {
    let in_header = headers.get(USER).map(|value| text(value).ok_or(BadUser)).transpose()?;
    Ok(Caller {
        user: in_header.or(in_body).map(|name| user_id(hasher, tenant, name)),
        request_id: REQUEST_IDS.iter().find_map(|name| headers.get(*name)).and_then(text).map(str::to_owned),
        trace_id: Context::of(headers).map(|context| context.trace_id),
    })
}

fn text(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok().map(str::trim).filter(|text| !text.is_empty() && text.len() <= limits::CALLER_ID_BYTES_MAX)
}

/// The pseudonym of a user: the history has no names of people, and the same name in two tenants is not the same user.
pub(crate) fn user_id(hasher: &Hasher, tenant: TenantId, name: &str) -> UserId {
    // no virtual key is hashed like that: a key has no spaces
    let hash = hasher(&format!("user {tenant} {name}")).0;
    UserId(hash.iter().take(16).fold(0, |number, byte| number << 8 | u128::from(*byte)))
}

/// Whom a question means: a pseudonym, or a name.
pub(crate) fn user_called(hasher: &Hasher, tenant: TenantId, wanted: &str) -> UserId {
    wanted.parse().unwrap_or_else(|_| user_id(hasher, tenant, wanted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::key::KeyHash;
    use std::sync::Arc;

    /// Not a hash, but told apart.
    fn hasher() -> Hasher {
        Arc::new(|text| {
            let mut bytes = [0; 32];
            text.bytes().enumerate().for_each(|(at, byte)| bytes[at % 32] ^= byte.rotate_left(at as u32));
            KeyHash(bytes)
        })
    }

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn the_header_counts_before_the_body_and_a_name_is_another_user_in_another_tenant() {
        let of = |tenant, list: &[_], body| caller(&hasher(), TenantId(tenant), &headers(list), body).ok().unwrap().user;
        let alice = of(1, &[], Some("alice"));
        assert!(alice.is_some());
        assert_eq!(of(1, &[("x-tollgate-user", "alice")], Some("bob")), alice);
        assert_ne!(of(2, &[], Some("alice")), alice);
        assert_eq!(of(1, &[], None), None);
        let shown = alice.unwrap().to_string();
        assert_eq!(user_called(&hasher(), TenantId(1), &shown), alice.unwrap());
        assert_eq!(user_called(&hasher(), TenantId(1), "alice"), alice.unwrap());
    }

    #[test]
    fn ids_are_kept_and_what_is_none_is_passed_over() {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let all = headers(&[("x-client-request-id", "theirs"), ("x-request-id", "ours-7"), ("traceparent", parent)]);
        let found = caller(&hasher(), TenantId(1), &all, None).ok().unwrap();
        assert_eq!((found.request_id.as_deref(), found.trace_id), (Some("ours-7"), Some(0x0af7651916cd43dd8448eb211c80319c)));
        let none = caller(&hasher(), TenantId(1), &headers(&[("x-request-id", " "), ("traceparent", "x")]), None).ok().unwrap();
        assert_eq!(none, Caller::default());
        assert!(caller(&hasher(), TenantId(1), &headers(&[("x-tollgate-user", "")]), None).is_err());
    }
}
