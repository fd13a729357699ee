//! What a rule demands of one claim.

use serde_json::{Map, Value};

use super::demand::{Demand, ShortfallReason};
use super::glob::Glob;
use super::limits;
use super::problem::RuleProblem;
use super::sts::STS_CLAIMS;
use super::written::{WrittenClaimTest, WrittenText};

/// A claim, by the names on the way to it, and what it has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimTest {
    path: Vec<String>,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Equals(String),
    In(Vec<String>),
    Glob(Glob),
    Present(bool),
}

impl ClaimTest {
    /// Reads what somebody has written.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub(super) fn parse(written: WrittenClaimTest) -> Result<Self, RuleProblem> {
        let WrittenClaimTest { path, equals, one_of, glob, present } = written;
        let named =
            |name: &String| (1..=limits::PATH_NAME_BYTES).contains(&name.len()) && !name.chars().any(char::is_control);
        if !(1..=limits::PATH_NAMES).contains(&path.len()) || !path.iter().all(named) {
            return Err(RuleProblem::ClaimPath);
        }
        let claim = path.join(".");
        if matches!(path.as_slice(), [namespace, tags, ..] if namespace == STS_CLAIMS && tags == "request_tags") {
            return Err(RuleProblem::RequestTags(claim));
        }
        let fits = |text: &String| text.len() <= limits::TEXT_BYTES;
        let test = match (equals, one_of, glob, present) {
            (Some(WrittenText(text)), None, None, None) if fits(&text) => Test::Equals(text),
            (Some(_too_long), None, None, None) => return Err(RuleProblem::ClaimValue(claim)),
            (None, Some(texts), None, None) => {
                let texts: Vec<String> = texts.into_iter().map(|WrittenText(text)| text).collect();
                if !(1..=limits::TEXTS).contains(&texts.len()) {
                    return Err(RuleProblem::ClaimValues(claim));
                }
                if !texts.iter().all(fits) {
                    return Err(RuleProblem::ClaimValue(claim));
                }
                Test::In(texts)
            }
            (None, None, Some(glob), None) => {
                Test::Glob(glob.parse().map_err(|problem| RuleProblem::ClaimGlob { claim, problem })?)
            }
            (None, None, None, Some(present)) => Test::Present(present),
            _ => return Err(RuleProblem::ClaimTests(claim)),
        };
        Ok(Self { path, test })
    }

    /// As it is written.
    pub(super) fn written(&self) -> WrittenClaimTest {
        let mut written = WrittenClaimTest { path: self.path.clone(), ..WrittenClaimTest::default() };
        match &self.test {
            Test::Equals(text) => written.equals = Some(WrittenText(text.clone())),
            Test::In(texts) => written.one_of = Some(texts.iter().cloned().map(WrittenText).collect()),
            Test::Glob(glob) => written.glob = Some(glob.as_str().to_owned()),
            Test::Present(present) => written.present = Some(*present),
        }
        written
    }

    /// Its name in a sentence and in a log.
    pub(super) fn name(&self) -> String {
        self.path.join(".")
    }

    /// Whether it is of a claim that only AWS STS has.
    pub(super) fn is_of_sts(&self) -> bool {
        self.path.first().is_some_and(|name| name == STS_CLAIMS)
    }

    /// The texts of which its claim has to be one, where it is the claim at `path`; nothing where other texts hold, too.
    pub(super) fn pinned_at(&self, path: &[&str]) -> Option<&[String]> {
        match &self.test {
            Test::Equals(text) if self.is_at(path) => Some(std::slice::from_ref(text)),
            Test::In(texts) if self.is_at(path) => Some(texts),
            _ => None,
        }
    }

    /// Its pattern, where it is the claim at `path`.
    pub(super) fn glob_at(&self, path: &[&str]) -> Option<&str> {
        match &self.test {
            Test::Glob(glob) if self.is_at(path) => Some(glob.as_str()),
            _ => None,
        }
    }

    /// Whether it says one of certain texts of a claim that is about the caller, and not about the token.
    pub(super) fn pins_anything(&self) -> bool {
        let of_token = |name: &str| matches!(name, "iss" | "aud" | "exp" | "nbf" | "iat" | "jti" | "typ");
        let of_caller = !matches!(self.path.as_slice(), [name] if of_token(name));
        of_caller && matches!(self.test, Test::Equals(_) | Test::In(_))
    }

    fn is_at(&self, path: &[&str]) -> bool {
        self.path == path
    }

    /// What it demands of a token's claims; nothing is known where there is no token.
    pub(super) fn demand(&self, claims: Option<&Map<String, Value>>) -> Demand {
        let of = format!("claims.{}", self.name());
        let found = claims.map_or(Found::Nothing, |claims| find(claims, &self.path));
        let text = match found {
            Found::Claim(value) => text_of(value),
            Found::Nothing => Err(ShortfallReason::Absent),
            Found::Astray => Err(ShortfallReason::NotText),
        };
        let as_text = text.as_deref().map_err(|why| *why);
        match &self.test {
            Test::Equals(wanted) => Demand::of_text(of, wanted, as_text, |text| text == wanted),
            Test::In(wanted) => {
                Demand::of_text(of, wanted.join(" or "), as_text, |text| wanted.iter().any(|one| one == text))
            }
            Test::Glob(glob) => Demand::of_text(of, glob.as_str(), as_text, |text| glob.matches(text)),
            Test::Present(wanted) => {
                // A claim of null is neither there nor absent, and of one behind a list nothing is known: both fail closed. Without
                // a token, nothing at all is known.
                let why = match (found, claims.is_some()) {
                    (Found::Claim(Value::Null) | Found::Astray, _) => Some(ShortfallReason::NotText),
                    (_, false) => Some(ShortfallReason::Absent),
                    (Found::Claim(_), true) => (!wanted).then_some(ShortfallReason::Different),
                    (Found::Nothing, true) => wanted.then_some(ShortfallReason::Absent),
                };
                Demand::new(of, if *wanted { "present" } else { "absent" }, as_text.ok(), why)
            }
        }
    }
}

/// Where the names of a path lead.
#[derive(Clone, Copy)]
enum Found<'a> {
    /// To this.
    Claim(&'a Value),
    /// Nowhere: one of the names is missing.
    Nothing,
    /// Into something that has no names: a list, or a text.
    Astray,
}

fn find<'a>(claims: &'a Map<String, Value>, path: &[String]) -> Found<'a> {
    let Some((first, rest)) = path.split_first() else { return Found::Nothing };
    match (claims.get(first), rest) {
        (None, _) => Found::Nothing,
        (Some(value), []) => Found::Claim(value),
        (Some(Value::Object(members)), rest) => find(members, rest),
        (Some(_other), _) => Found::Astray,
    }
}

/// The text by which a claim is compared. Of a number that is not whole, or that 64 bits do not hold, there is more than one (`1`,
/// `1.0`, `1e0`), and two such numbers can become the same: none is compared.
pub(super) fn text_of(value: &Value) -> Result<String, ShortfallReason> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(value) => Ok(value.to_string()),
        Value::Number(number) if number.is_u64() || number.is_i64() => Ok(number.to_string()),
        Value::Null => Err(ShortfallReason::Absent),
        Value::Number(_) | Value::Array(_) | Value::Object(_) => Err(ShortfallReason::NotText),
    }
}
