//! Whom AWS says a request comes from: of payload 2.0 `authorizer.iam` (a function URL, an HTTP API), of payload 1.0 `identity` (a REST
//! API). Read where AWS has verified the caller's signature, and nowhere else: the gateway of every other function leaves these members
//! alone, so whoever can invent their events gains nothing by them.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::event::Payload;
use crate::core::trust::aws::AwsCaller;
use crate::core::trust::caller::{CallerByAws, CallerFacts, CallerProblem};

/// The caller of an event. A member that is there twice, or of another type than AWS's, makes it malformed.
pub(super) fn of_event(event: &str, payload: Payload) -> CallerByAws {
    CallerByAws(match payload {
        Payload::V1 => read::<RestEvent<'_>>(event).and_then(|event| event.request_context.caller()),
        Payload::V2 => read::<HttpEvent<'_>>(event).and_then(|event| event.request_context.caller()),
    })
}

fn read<'a, T: Deserialize<'a>>(event: &'a str) -> Result<T, CallerProblem> {
    serde_json::from_str(event).map_err(|_| CallerProblem::Malformed)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HttpEvent<'a> {
    #[serde(borrow)]
    request_context: HttpContext<'a>,
}

#[derive(Deserialize)]
struct HttpContext<'a> {
    #[serde(borrow)]
    authorizer: Option<HttpAuthorizer<'a>>,
}

#[derive(Deserialize)]
struct HttpAuthorizer<'a> {
    #[serde(borrow)]
    iam: Option<Iam<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Iam<'a> {
    #[serde(borrow)]
    user_arn: Option<Cow<'a, str>>,
    #[serde(borrow)]
    account_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    caller_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    user_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    principal_org_id: Option<Cow<'a, str>>,
    cognito_identity: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RestEvent<'a> {
    #[serde(borrow)]
    request_context: RestContext<'a>,
}

#[derive(Deserialize)]
struct RestContext<'a> {
    #[serde(borrow)]
    stage: Option<Cow<'a, str>>,
    #[serde(borrow)]
    identity: Option<Identity<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Identity<'a> {
    #[serde(borrow)]
    user_arn: Option<Cow<'a, str>>,
    #[serde(borrow)]
    account_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    caller: Option<Cow<'a, str>>,
    #[serde(borrow)]
    user: Option<Cow<'a, str>>,
    #[serde(borrow)]
    principal_org_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    api_key: Option<Cow<'a, str>>,
    cognito_identity_id: Option<IgnoredAny>,
    cognito_identity_pool_id: Option<IgnoredAny>,
    cognito_authentication_type: Option<IgnoredAny>,
    cognito_authentication_provider: Option<IgnoredAny>,
}

impl HttpContext<'_> {
    fn caller(&self) -> Result<AwsCaller, CallerProblem> {
        let iam = self.authorizer.as_ref().and_then(|authorizer| authorizer.iam.as_ref());
        let iam = iam.ok_or(CallerProblem::Missing)?;
        // An identity pool's role, which is one role for everybody who signs in there.
        if iam.cognito_identity.is_some() {
            return Err(CallerProblem::NotARole);
        }
        let ids = [iam.caller_id.as_deref(), iam.user_id.as_deref()];
        session(iam.user_arn.as_deref(), iam.account_id.as_deref(), ids, iam.principal_org_id.as_deref())
    }
}

impl RestContext<'_> {
    fn caller(&self) -> Result<AwsCaller, CallerProblem> {
        let identity = self.identity.as_ref().ok_or(CallerProblem::Missing)?;
        // Whoever may try out a method in the console does so past the check of a signature, and chooses path, headers and body.
        if self.stage.as_deref() == Some(TEST_STAGE) || identity.api_key.as_deref() == Some(TEST_KEY) {
            return Err(CallerProblem::Missing);
        }
        let of_cognito = [
            &identity.cognito_identity_id,
            &identity.cognito_identity_pool_id,
            &identity.cognito_authentication_type,
            &identity.cognito_authentication_provider,
        ];
        if of_cognito.into_iter().any(Option::is_some) {
            return Err(CallerProblem::NotARole);
        }
        let ids = [identity.caller.as_deref(), identity.user.as_deref()];
        let organization = identity.principal_org_id.as_deref();
        session(identity.user_arn.as_deref(), identity.account_id.as_deref(), ids, organization)
    }
}

/// The role whose session has called, by all that both payloads say of it.
fn session(
    arn: Option<&str>,
    account: Option<&str>,
    ids: [Option<&str>; 2],
    organization: Option<&str>,
) -> Result<AwsCaller, CallerProblem> {
    match (arn, account, ids) {
        (Some(arn), Some(account), [Some(first), Some(second)]) => {
            AwsCaller::of_session(&CallerFacts { arn, account, ids: [first, second], organization })
        }
        // What a REST API writes of a request that nobody has signed.
        (None, None, [None, None]) => Err(CallerProblem::Missing),
        _ => Err(CallerProblem::Malformed),
    }
}

/// What API Gateway writes into the event of a method that somebody tries out in the console.
const TEST_STAGE: &str = "test-invoke-stage";
const TEST_KEY: &str = "test-invoke-api-key";

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// As a function URL and an HTTP API write it.
    fn v2() -> Value {
        json!({"version": "2.0", "requestContext": {
            "accountId": "999999999999", "stage": "$default",
            "authorizer": {"iam": {
                "accessKey": "ASIAEXAMPLE000000001", "accountId": "111122223333",
                "callerId": "AROAEXAMPLE000000001:session", "cognitoIdentity": null, "principalOrgId": "o-a1b2c3d4e5",
                "userArn": "arn:aws:sts::111122223333:assumed-role/OrdersRole/session",
                "userId": "AROAEXAMPLE000000001:session",
            }},
            "http": {"method": "POST", "sourceIp": "203.0.113.7"},
        }})
    }

    /// As a REST API writes it.
    fn v1() -> Value {
        json!({"httpMethod": "POST", "requestContext": {
            "accountId": "999999999999", "stage": "prod",
            "identity": {
                "cognitoIdentityPoolId": null, "accountId": "111122223333", "cognitoIdentityId": null,
                "caller": "AROAEXAMPLE000000001:session", "sourceIp": "203.0.113.7", "apiKey": null,
                "principalOrgId": "o-a1b2c3d4e5", "accessKey": "ASIAEXAMPLE000000001", "cognitoAuthenticationType": null,
                "cognitoAuthenticationProvider": null, "userAgent": "x", "user": "AROAEXAMPLE000000001:session",
                "userArn": "arn:aws:sts::111122223333:assumed-role/OrdersRole/session",
            },
        }})
    }

    fn of(payload: Payload, event: &Value) -> Result<AwsCaller, CallerProblem> {
        of_event(&event.to_string(), payload).0
    }

    /// What becomes of the event of payload 2.0, where these members of `iam` are others.
    fn with_iam(members: Value) -> Result<AwsCaller, CallerProblem> {
        let mut event = v2();
        merge(&mut event["requestContext"]["authorizer"]["iam"], members);
        of(Payload::V2, &event)
    }

    fn with_identity(members: Value) -> Result<AwsCaller, CallerProblem> {
        let mut event = v1();
        merge(&mut event["requestContext"]["identity"], members);
        of(Payload::V1, &event)
    }

    #[expect(clippy::needless_pass_by_value, reason = "it is given what json! has just made")]
    fn merge(object: &mut Value, members: Value) {
        for (name, value) in members.as_object().expect("members") {
            object[name] = value.clone();
        }
    }

    fn role() -> AwsCaller {
        AwsCaller {
            partition: "aws".to_owned(),
            account: "111122223333".to_owned(),
            role: "OrdersRole".to_owned(),
            role_id: Some("AROAEXAMPLE000000001".to_owned()),
            organization: Some("o-a1b2c3d4e5".to_owned()),
        }
    }

    #[test]
    fn both_payloads_say_which_role_has_called() {
        assert_eq!(of(Payload::V2, &v2()), Ok(role()));
        assert_eq!(of(Payload::V1, &v1()), Ok(role()));
        let alone = AwsCaller { organization: None, ..role() };
        for organization in [json!(null), json!("aws:PrincipalOrgID")] {
            assert_eq!(with_iam(json!({"principalOrgId": organization})), Ok(alone.clone()));
            assert_eq!(with_identity(json!({"principalOrgId": organization})), Ok(alone.clone()));
        }
    }

    #[test]
    fn nobody_is_the_caller_where_aws_has_verified_nobody() {
        for event in [
            json!({"requestContext": {}}),
            json!({"requestContext": {"authorizer": null}}),
            json!({"requestContext": {"authorizer": {}}}),
            json!({"requestContext": {"authorizer": {"iam": null}}}),
            json!({"requestContext": {"authorizer": {"iam": {}}}}),
            json!({"requestContext": {"authorizer": {"lambda": v2()["requestContext"]["authorizer"]}}}),
            json!({"requestContext": {"authorizer": {"jwt": {"claims": {"iam": v2()["requestContext"]["authorizer"]["iam"]}}}}}),
            json!({"requestContext": {}, "authorizer": v2()["requestContext"]["authorizer"]}),
            // What the other payload says.
            v1(),
        ] {
            assert_eq!(of(Payload::V2, &event), Err(CallerProblem::Missing), "{event}");
        }
        let unsigned = json!({"accountId": null, "caller": null, "user": null, "userArn": null, "accessKey": null});
        assert_eq!(with_identity(unsigned), Err(CallerProblem::Missing));
        for event in [json!({"requestContext": {}}), json!({"requestContext": {"identity": null}}), v2()] {
            assert_eq!(of(Payload::V1, &event), Err(CallerProblem::Missing), "{event}");
        }
    }

    #[test]
    fn nothing_that_a_caller_sends_is_the_caller() {
        let context = v2()["requestContext"].to_string();
        let event = json!({
            "requestContext": {"http": {"method": "POST"}}, "body": format!(r#"{{"requestContext":{context}}}"#),
            "headers": {"requestcontext": context, "x-amzn-iam-user-arn": "arn:aws:sts::111122223333:assumed-role/OrdersRole/session"},
            "queryStringParameters": {"requestContext": context}, "rawQueryString": "requestContext.authorizer.iam.accountId=1",
            "cookies": [context], "stageVariables": {"requestContext": context}, "pathParameters": {"proxy": context},
        });
        assert_eq!(of(Payload::V2, &event), Err(CallerProblem::Missing));
        assert_eq!(of(Payload::V1, &event), Err(CallerProblem::Missing));
    }

    #[test]
    fn a_test_of_the_console_is_nobodys_request() {
        let mut event = v1();
        event["requestContext"]["stage"] = json!("test-invoke-stage");
        assert_eq!(of(Payload::V1, &event), Err(CallerProblem::Missing));
        assert_eq!(with_identity(json!({"apiKey": "test-invoke-api-key"})), Err(CallerProblem::Missing));
        assert_eq!(with_identity(json!({"apiKey": "another"})), Ok(role()));
    }

    #[test]
    fn users_the_root_federated_users_and_identities_of_cognito_are_not_a_role() {
        for (arn, id) in [
            ("arn:aws:iam::111122223333:user/OrdersRole", "AIDAEXAMPLE000000001"),
            ("arn:aws:iam::111122223333:root", "111122223333"),
            ("arn:aws:sts::111122223333:federated-user/OrdersRole", "111122223333:OrdersRole"),
        ] {
            let http = with_iam(json!({"userArn": arn, "userId": id, "callerId": id}));
            let rest = with_identity(json!({"userArn": arn, "user": id, "caller": id}));
            assert_eq!((http, rest), (Err(CallerProblem::NotARole), Err(CallerProblem::NotARole)), "{arn}");
        }
        // The role of an identity pool is everybody who signs in there.
        let identity =
            json!({"amr": ["unauthenticated"], "identityId": "us-east-1:x", "identityPoolId": "us-east-1:y"});
        for value in [identity, json!({}), json!(0), json!("")] {
            assert_eq!(with_iam(json!({"cognitoIdentity": value})), Err(CallerProblem::NotARole), "{value}");
        }
        for name in
            ["cognitoIdentityId", "cognitoIdentityPoolId", "cognitoAuthenticationType", "cognitoAuthenticationProvider"]
        {
            assert_eq!(with_identity(json!({name: "x"})), Err(CallerProblem::NotARole), "{name}");
        }
    }

    #[test]
    fn every_member_is_there_once_and_of_its_type() {
        for name in ["userArn", "accountId", "callerId", "userId"] {
            for value in [json!(null), json!(7), json!(["x"]), json!({}), json!(true), json!("")] {
                assert_eq!(with_iam(json!({name: value})), Err(CallerProblem::Malformed), "{name} {value}");
            }
            let mut event = v2();
            event["requestContext"]["authorizer"]["iam"].as_object_mut().expect("members").remove(name);
            assert_eq!(of(Payload::V2, &event), Err(CallerProblem::Malformed), "{name}");
        }
        for name in ["userArn", "accountId", "caller", "user"] {
            for value in [json!(null), json!(7), json!(["x"]), json!({}), json!(true), json!("")] {
                assert_eq!(with_identity(json!({name: value})), Err(CallerProblem::Malformed), "{name} {value}");
            }
        }
        assert_eq!(with_iam(json!({"principalOrgId": 7})), Err(CallerProblem::Malformed));
        assert_eq!(with_iam(json!({"accountId": 111_122_223_333_u64})), Err(CallerProblem::Malformed));

        let event = v2().to_string();
        for (member, twice) in [
            (r#""userArn":"#, r#""userArn":"arn:aws:sts::111122223333:assumed-role/AdminRole/session","userArn":"#),
            (r#""accountId":"111122223333""#, r#""accountId":"444455556666","accountId":"111122223333""#),
            (r#""iam":"#, r#""iam":null,"iam":"#),
            (r#""authorizer":"#, r#""authorizer":null,"authorizer":"#),
            (r#""requestContext":"#, r#""requestContext":{},"requestContext":"#),
            (r#""cognitoIdentity":null"#, r#""cognitoIdentity":null,"cognitoIdentity":null"#),
        ] {
            let event = event.replacen(member, twice, 1);
            assert_eq!(of_event(&event, Payload::V2).0, Err(CallerProblem::Malformed), "{event}");
        }
        for event in ["", "null", "[]", "{}", r#"{"requestContext":null}"#, r#"{"requestContext":[]}"#] {
            assert_eq!(of_event(event, Payload::V2).0, Err(CallerProblem::Malformed), "{event}");
            assert_eq!(of_event(event, Payload::V1).0, Err(CallerProblem::Malformed), "{event}");
        }
    }
}
