//! Revocation: rows V-* of docs/protocol-cases.md (RFC 7009).

use crate::support::cli::Registered;
use crate::support::each_row;
use crate::support::http::{Answer, Request};
use crate::support::shared::{ALPHA, shared};

#[track_caller]
fn assert_done(answer: &Answer) {
    assert_eq!((answer.status, answer.body.len()), (200, 0), "{answer:?}");
    answer.assert_common();
}

#[test]
fn v_01_v_02_a_token_is_revoked_and_revoking_it_again_is_a_success() {
    let shared = shared();
    let (token, kept) = (shared.server.token(&shared.app, "read"), shared.server.token(&shared.app, "read"));
    shared.server.introspect(&shared.app, &token).assert_active();
    assert_done(&shared.server.revoke(&shared.app, &token));
    shared.server.introspect(&shared.app, &token).assert_inactive();
    shared.server.introspect(&shared.resource_server, &token).assert_inactive();
    assert_done(&shared.server.revoke(&shared.app, &token));
    shared.server.introspect(&shared.app, &kept).assert_active();
}

#[test]
fn v_02_a_token_that_does_not_exist_is_a_success() {
    let shared = shared();
    each_row(
        [
            ("V-02 never issued", "gwt_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
            ("V-02 garbage", "garbage"),
            ("V-02 the prefix alone", "gwt_"),
            ("V-02 a JWT", "eyJhbGciOiJub25lIn0.e30."),
            ("V-02 a space", "+"),
        ],
        |token| assert_done(&shared.server.revoke(&shared.app, token)),
    );
    assert_done(&shared.server.revoke(&shared.app, &"x".repeat(60_000)));
}

#[test]
fn v_03_another_clients_token_is_refused_and_stays_active() {
    let shared = shared();
    let token = shared.server.token(&shared.app, "read");
    for caller in [&shared.other, &shared.resource_server, &shared.root_app, &shared.beta_app, &shared.any_realm_server]
    {
        shared.server.revoke(caller, &token).assert_400("invalid_request");
        shared.server.introspect(&shared.app, &token).assert_active();
    }
    // Once it is gone, it is nobody's.
    assert_done(&shared.server.revoke(&shared.app, &token));
    assert_done(&shared.server.revoke(&shared.other, &token));
}

#[test]
fn v_05_a_hint_changes_nothing() {
    let shared = shared();
    for hint in ["", "access_token", "refresh_token", "canary", "%E2%82%AC"] {
        let token = shared.server.token(&shared.app, "read");
        let form = format!("token_type_hint={hint}&token={token}");
        assert_done(&Request::form(&format!("{ALPHA}/token/revoke"), form).by(&shared.app).send(&shared.server));
        shared.server.introspect(&shared.app, &token).assert_inactive();
    }
}

#[test]
fn v_08_a_caller_who_is_not_authenticated_revokes_nothing() {
    let shared = shared();
    let token = shared.server.token(&shared.app, "read");
    let request = Request::form(&format!("{ALPHA}/token/revoke"), format!("token={token}"));
    request.send(&shared.server).assert_401("alpha");
    request.clone().by(&shared.app.with_secret("wrong")).send(&shared.server).assert_401("alpha");
    request.clone().header("Authorization", format!("Bearer {token}")).send(&shared.server).assert_401("alpha");
    let stranger = Registered { client_id: "nobody".into(), ..shared.app.clone() };
    request.by(&stranger).send(&shared.server).assert_401("alpha");
    shared.server.introspect(&shared.app, &token).assert_active();
}

#[test]
fn v_09_a_jsonp_callback_is_ignored() {
    let shared = shared();
    let token = shared.server.token(&shared.app, "read");
    let form = format!("token={token}&callback=package.callback");
    assert_done(&Request::form(&format!("{ALPHA}/token/revoke"), form).by(&shared.app).send(&shared.server));
    let path = format!("{ALPHA}/token/revoke?callback=package.callback");
    assert_done(&Request::form(&path, "token=x").by(&shared.app).send(&shared.server));
}

#[test]
fn v_01_of_many_who_revoke_at_once_all_succeed() {
    let shared = shared();
    let token = shared.server.token(&shared.app, "read");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_done(&shared.server.revoke(&shared.app, &token)));
        }
    });
    shared.server.introspect(&shared.app, &token).assert_inactive();
}
