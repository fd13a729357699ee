//! What a caller lacks for each rule of a client, for the log: which rule, which claim, and never what it says.

use std::fmt;

use super::demand::Shortfall;
use super::rule::{RuleMode, RuleName, Verdict};

/// What comes of a caller that no rule admits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAdmitted {
    /// Why no rule admits it.
    pub shortfalls: Shortfalls,
    /// What the rules say that are only observed.
    pub observed: Vec<ObservedRule>,
}

/// What a rule that is only observed would have done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedRule {
    /// The rule.
    pub name: RuleName,
    /// Whether the caller satisfies it.
    pub would_admit: bool,
    /// What the caller lacks of it.
    pub lacks: Shortfalls,
}

/// Why no rule admits a caller: a line for the log, of a length that no number of rules exceeds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortfalls(String);

impl Shortfalls {
    /// What the caller lacks of each enforced rule.
    pub fn of(verdicts: &[Verdict<'_>]) -> Self {
        let enforced = verdicts.iter().filter(|verdict| verdict.rule.mode == RuleMode::Enforce);
        Self(enforced.fold(String::new(), |line, verdict| append(line, verdict)))
    }

    /// What it lacks of this rule.
    fn of_rule(verdict: &Verdict<'_>) -> Self {
        Self(append(String::new(), verdict))
    }
}

impl ObservedRule {
    /// What a rule would have done by what it says of a caller.
    pub fn of(verdict: &Verdict<'_>) -> Self {
        Self {
            name: verdict.rule.name.clone(),
            would_admit: verdict.shortfalls.is_empty(),
            lacks: Shortfalls::of_rule(verdict),
        }
    }
}

impl fmt::Display for Shortfalls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

fn append(mut line: String, verdict: &Verdict<'_>) -> String {
    if verdict.shortfalls.is_empty() {
        return line;
    }
    let between = if line.is_empty() { "" } else { "; " };
    let lacks: Vec<String> = verdict.shortfalls.iter().map(Shortfall::to_string).collect();
    let told = format!("{between}rule {} ({})", verdict.rule.name, lacks.join(", "));
    let room = MOST_BYTES.saturating_sub(line.len());
    if told.len() <= room {
        line.push_str(&told);
    } else if !line.ends_with(MORE) {
        let end = (0..=room).rev().find(|end| told.is_char_boundary(*end)).unwrap_or(0);
        line.push_str(told.get(..end).unwrap_or_default());
        line.push_str(MORE);
    }
    line
}

/// Of a line, before it says that there is more.
const MOST_BYTES: usize = 512;
const MORE: &str = "...";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::trust::demand::ShortfallReason;
    use crate::core::trust::rule::TrustRule;

    #[test]
    fn the_line_names_rules_and_claims_and_ends() {
        let rule = |name: &str| -> TrustRule {
            TrustRule::parse(&serde_json::json!({ "name": name, "issuer": "https://issuer.example" })).expect("a rule")
        };
        let lacks = |of: &str, why| Shortfall { of: of.to_owned(), why };
        let (one, two) = (rule("one"), rule("two"));
        let shortfalls = vec![
            lacks("claims.environment", ShortfallReason::Absent),
            lacks("claims.repository_id", ShortfallReason::Different),
        ];
        let verdicts = [
            Verdict { rule: &one, shortfalls },
            Verdict { rule: &two, shortfalls: vec![lacks("issuer", ShortfallReason::Different)] },
        ];
        assert_eq!(
            Shortfalls::of(&verdicts).to_string(),
            "rule one (claims.environment: absent, claims.repository_id: different); rule two (issuer: different)"
        );
        let long = lacks(&"\u{e9}".repeat(200), ShortfallReason::NotText);
        let verdicts = vec![Verdict { rule: &one, shortfalls: vec![long] }; 100];
        let line = Shortfalls::of(&verdicts).to_string();
        assert!(line.len() <= MOST_BYTES + MORE.len() && line.ends_with(MORE), "{line}");
        assert!(!line.ends_with("......"), "{line}");
    }
}
