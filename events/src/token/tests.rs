use super::*;
use crate::given::{NOW, given};
use std::time::Duration;

fn settings() -> Settings {
    Settings { name: "finance".into(), role: Role::Billing, tenant: Some(TenantId(1)), expires_at: Some(NOW.plus(Duration::from_secs(60))) }
}

fn created() -> Event {
    Event::Created { settings: settings(), secret: Secret { hash: KeyHash([1; 32]), hint: "…0001".into() } }
}

#[test]
fn a_token_lives_until_it_is_revoked_or_expires() {
    let token = given::<Token>([created()]);
    assert!(token.is().is_live(NOW) && !token.is().is_live(NOW.plus(Duration::from_secs(60))));
    let token = token.when(Command::Revoke).then([Event::Revoked]);
    assert!(!token.is_live(NOW));
    assert!(!Token::default().is_live(NOW));
    given::<Token>([]).when(Command::Revoke).refused(Refusal::Unknown);
    let create = Command::Create { settings: settings(), secret: Secret { hash: KeyHash([2; 32]), hint: String::new() } };
    given::<Token>([created()]).when(create).refused(Refusal::Exists);
}

#[test]
fn what_is_refused_again_and_again_is_recorded_now_and_then() {
    let deny = Command::Deny { what: "POST /api/v1/apply".into() };
    let token = given::<Token>([created()]).when(deny.clone()).then([Event::Denied { what: "POST /api/v1/apply".into() }]);
    assert_eq!(token.decide(deny.clone(), NOW), Ok(Vec::new()));
    assert!(token.decide(deny, NOW.plus(limits::DENIED_EVERY)).is_ok_and(|events| events.len() == 1));
}

#[test]
fn roles_stand_above_each_other() {
    let can: Vec<Vec<bool>> = Role::ALL
        .iter()
        .map(|role| [Need::Bill, Need::Read, Need::Operate, Need::Configure, Need::Own].iter().map(|need| role.may(*need)).collect())
        .collect();
    for (at, role) in can.iter().enumerate() {
        assert_eq!(role.iter().filter(|may| **may).count(), 5 - at, "{:?}", Role::ALL[at]);
        assert!(role.is_sorted_by(|a, b| a >= b));
    }
    let readers: Vec<_> = Role::ALL.into_iter().filter(|role| role.may(Need::ReadBodies)).collect();
    assert_eq!(readers, [Role::Owner, Role::Admin, Role::Auditor]);
}
