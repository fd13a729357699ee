//! How a process proves its role to a server that trusts AWS: with a token of STS that says who it is, or with the signature of a request
//! (SigV4). Both need the credentials that AWS gives the process, and neither hands them on.

use std::time::{Duration, SystemTime};

use aws_config::{Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_sdk_sts::error::SdkError;
use aws_sdk_sts::operation::get_web_identity_token::GetWebIdentityTokenError;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use secrecy::SecretString;

use super::sdk;
use crate::core::time::UnixSeconds;

/// A process with AWS credentials.
pub struct Caller {
    config: SdkConfig,
}

/// A POST before it is signed.
pub struct Unsigned<'a> {
    /// The whole URL.
    pub url: &'a str,
    /// `Content-Type`.
    pub content_type: &'a str,
    /// The body.
    pub body: &'a [u8],
    /// The name of the service that verifies the signature.
    pub service: &'a str,
    /// The service's region, or that of the process.
    pub region: Option<&'a str>,
    /// The time of the signature, which is good for five minutes.
    pub now: UnixSeconds,
}

/// A header, whose value may be a credential: without `Debug`.
pub struct Header {
    /// The name.
    pub name: String,
    /// The value.
    pub value: SecretString,
}

/// Why there is no proof. Holds neither a credential nor what AWS says in its own words, which may repeat one.
#[derive(Debug, thiserror::Error)]
pub enum CallerError {
    /// Nobody gives the process any, or whoever should does not.
    #[error(
        "this process has no AWS credentials that could be loaded; Lambda, ECS, EKS and EC2 give it those of its role, and elsewhere \
         AWS_PROFILE names a profile that has some (`aws sts get-caller-identity` shows whose they are)"
    )]
    NoCredentials,
    /// STS has no global endpoint for this, and a signature is for one region.
    #[error("this process has no AWS region; name it by --region, or set AWS_REGION")]
    NoRegion,
    /// STS gave no token.
    #[error("STS gave no identity token: {0}")]
    Sts(String),
    /// The library refused what it was given.
    #[error("the request could not be signed")]
    NotSigned,
}

impl Caller {
    /// This process, by the SDK's own chain of credentials; `region` in place of what its environment says.
    pub async fn of_this_process(region: Option<String>) -> Self {
        let config = sdk::for_operators().await;
        let config = match region {
            Some(region) => config.into_builder().region(Region::new(region)).build(),
            None => config,
        };
        Self { config }
    }

    /// A token by which AWS says who this process is, for this audience alone (outbound identity federation).
    ///
    /// # Errors
    /// A [`CallerError`] that says what to do.
    pub async fn identity_token(&self, audience: &str) -> Result<SecretString, CallerError> {
        if self.config.region().is_none() {
            return Err(CallerError::NoRegion);
        }
        // Asked for first, so that a process without any is told so, and not that a request could not be sent.
        self.credentials().await?;
        let sts = aws_sdk_sts::Client::new(&self.config);
        let request = sts.get_web_identity_token().audience(audience).signing_algorithm(ALGORITHM);
        let answer = request.duration_seconds(LIFETIME).send().await;
        let answer = answer.map_err(|error| CallerError::Sts(reason(&error)))?;
        answer
            .web_identity_token
            .map(SecretString::from)
            .ok_or_else(|| CallerError::Sts("the answer has none".to_owned()))
    }

    /// What to send beside a request, so that AWS sees whose it is.
    ///
    /// # Errors
    /// A [`CallerError`] that says what to do.
    pub async fn signature(&self, request: &Unsigned<'_>) -> Result<Vec<Header>, CallerError> {
        let region = request.region.or(self.config.region().map(AsRef::as_ref)).ok_or(CallerError::NoRegion)?;
        let identity = Identity::from(self.credentials().await?);
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name(request.service)
            .time(SystemTime::UNIX_EPOCH + Duration::from_secs(request.now.0))
            .settings(SigningSettings::default())
            .build()
            .map_err(|_| CallerError::NotSigned)?
            .into();
        let headers = [("content-type", request.content_type)].into_iter();
        let signable = SignableRequest::new("POST", request.url, headers, SignableBody::Bytes(request.body))
            .map_err(|_| CallerError::NotSigned)?;
        let (instructions, _signature) = sign(signable, &params).map_err(|_| CallerError::NotSigned)?.into_parts();
        let headers = instructions.headers();
        Ok(headers.map(|(name, value)| Header { name: name.to_owned(), value: SecretString::from(value) }).collect())
    }

    async fn credentials(&self) -> Result<Credentials, CallerError> {
        let provider = self.config.credentials_provider().ok_or(CallerError::NoCredentials)?;
        provider.provide_credentials().await.map_err(|_| CallerError::NoCredentials)
    }
}

/// What STS answered, with what to do about it.
fn reason(error: &SdkError<GetWebIdentityTokenError>) -> String {
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code).unwrap_or_default();
    let advice = match code {
        "AccessDenied" => "; allow the role sts:GetWebIdentityToken in a policy of its own",
        code if code.starts_with("OutboundWebIdentityFederationDisabled") => {
            "; an administrator of the account turns it on with `aws iam enable-outbound-web-identity-federation`"
        }
        code if code.starts_with("SessionDurationEscalation") => {
            "; the credentials end within a minute, so run this again with new ones"
        }
        "ExpiredToken" | "InvalidClientTokenId" | "SignatureDoesNotMatch" => {
            "; the AWS credentials have expired or are wrong, or this machine's clock is"
        }
        "" => "; --region or AWS_REGION names the region whose STS is asked",
        _ => "",
    };
    format!("{}{advice}", sdk::detail(STS, "GetWebIdentityToken", error))
}

/// The service's name in errors.
const STS: &str = "STS";
/// The stronger of the two that STS has.
const ALGORITHM: &str = "ES384";
/// Seconds, the fewest that STS gives: the token is presented at once.
const LIFETIME: i32 = 60;
