//! Which store one is, so that what was planned for it is not done to another.

use std::path::{self, Path, PathBuf};
use std::{fmt, io};

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::store::StoreName;

/// Which store it is. A name on the command line can mean another one elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub(crate) enum StoreIdentity {
    /// A data directory, by its whole path.
    File { directory: PathBuf },
    /// The registry of a stack; it has an id once the first secret or key was made for it.
    Aws { table: String, registry: Option<String> },
}

impl StoreIdentity {
    /// The one of a data directory, which need not exist.
    pub(crate) fn of_directory(directory: &Path) -> Result<Self, Failure> {
        let whole = whole(directory);
        let failed = |error| Failure::new(format!("{} cannot be looked at: {error}", directory.display()));
        whole.map(|directory| Self::File { directory }).map_err(failed)
    }

    /// Whether this is what `other` is, as far as it was known.
    pub(crate) fn may_be(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Aws { table, registry: None }, Self::Aws { table: other, .. }) => table == other,
            _ => self == other,
        }
    }
}

impl fmt::Display for StoreIdentity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { directory } => StoreName::File(directory.clone()).fmt(formatter),
            Self::Aws { table, registry: None } => write!(formatter, "aws, table {table}"),
            Self::Aws { table, registry: Some(id) } => write!(formatter, "aws, table {table}, registry {id}"),
        }
    }
}

/// The whole path of a directory that need not exist, without links as far as it does.
fn whole(directory: &Path) -> io::Result<PathBuf> {
    let directory = path::absolute(directory)?;
    for existing in directory.ancestors() {
        match existing.canonicalize() {
            // Not `join`, which ends in a slash where nothing is left.
            Ok(whole) => {
                return Ok(whole
                    .iter()
                    .chain(directory.strip_prefix(existing).iter().flat_map(|rest| rest.iter()))
                    .collect());
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_without_an_id_may_get_one_and_another_table_is_another_stack() {
        let stack = |table: &str, registry: Option<&str>| StoreIdentity::Aws {
            table: table.to_owned(),
            registry: registry.map(str::to_owned),
        };
        assert!(stack("t", None).may_be(&stack("t", Some("1"))));
        assert!(stack("t", Some("1")).may_be(&stack("t", Some("1"))));
        for other in [stack("t", Some("2")), stack("t", None), stack("u", Some("1"))] {
            assert!(!stack("t", Some("1")).may_be(&other), "{other}");
        }
        let file = StoreIdentity::of_directory(Path::new("t")).expect("a path");
        assert!(!stack("t", None).may_be(&file) && !file.may_be(&stack("t", None)));
    }

    #[test]
    fn a_directory_is_the_same_by_whatever_path() {
        let root = tempfile::TempDir::new().expect("a directory");
        let of = |path: &str| StoreIdentity::of_directory(&root.path().join(path)).expect("a path").to_string();
        std::fs::create_dir(root.path().join("a")).expect("made");
        std::os::unix::fs::symlink(root.path().join("a"), root.path().join("link")).expect("made");
        assert_eq!(of("link"), of("a"));
        assert_eq!(of("link/data/x"), of("a/data/x"), "as far as it exists");
        assert_ne!(of("a"), of("b"));
        assert!(of("b").ends_with("/b"), "{}", of("b"));
    }
}
