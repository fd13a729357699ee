//! Clients as code: a file declares records, a plan says what of the registry has to change, and it is carried out as it was shown.
//!
//! A plan is a value: [`Plan::make`] looks at a [`Declaration`] and a [`Snapshot`] and asks nobody. Three things cannot happen by it: what
//! a file does not mention is not set, what it does not declare is not deleted unless that is asked for, and a record that another file
//! or a person has made is not taken over without a word.

mod carry_out;
pub mod declaration;
mod draft;
mod export;
mod issuer;
mod permitted;
mod problem;
mod reading;
mod snapshot;
mod step;

pub use carry_out::{CarriedOut, KeepSecret};
pub use declaration::{Declaration, Entry, InvalidDeclaration, declared_form};
pub use draft::{Phase, Plan, PlanOptions};
pub use export::Exported;
pub use permitted::NotPermitted;
pub use problem::{Problem, ProblemKind};
pub use snapshot::Snapshot;
pub use step::{Action, AdoptedFrom, Base, Fingerprint, MemberChange, Step, Target};
