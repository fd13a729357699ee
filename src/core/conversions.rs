//! What serde needs of a noun that is a checked text or number inside: each is read by its one constructor, so that nothing
//! stored or sent goes around the check.

/// `TryFrom<String>` and `Into<String>` for serde, on top of `FromStr`, and `Display`.
macro_rules! text_conversions {
    ($($name:ty),+) => {$(
        impl TryFrom<String> for $name {
            type Error = <Self as std::str::FromStr>::Err;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    )+};
}

/// `TryFrom<u64>` and `Into<u64>` for serde, on top of `new`.
macro_rules! number_conversions {
    ($($name:ty: $error:ty),+) => {$(
        impl TryFrom<u64> for $name {
            type Error = $error;

            fn try_from(number: u64) -> Result<Self, Self::Error> {
                Self::new(number)
            }
        }

        impl From<$name> for u64 {
            fn from(value: $name) -> Self {
                value.0
            }
        }
    )+};
}

pub(crate) use {number_conversions, text_conversions};
