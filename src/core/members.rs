//! The members of a record, read off its type: whoever shows a record names none of them again.

use serde::de::value::Error;
use serde::de::{DeserializeOwned, Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer, forward_to_deserialize_any};
use serde_json::Value;

/// The members of a record with their values, in the order in which they are shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Members(Vec<(&'static str, Value)>);

/// The names of the members of `T`, in the order of its fields. None where it is not a plain struct.
pub fn names_of<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    let mut names: &'static [&'static str] = &[];
    // There is nothing to read: what is asked for is all that is wanted.
    let _nothing_read = T::deserialize(AskedFor(&mut names));
    names
}

impl Members {
    /// The members of `record`, in the order of its fields; null where one is not set.
    pub(crate) fn of<T: Serialize + DeserializeOwned>(record: &T) -> Self {
        let mut set = match serde_json::to_value(record) {
            Ok(Value::Object(set)) => set,
            _ => serde_json::Map::new(),
        };
        names_of::<T>().iter().map(|name| (*name, set.remove(*name).unwrap_or_default())).collect()
    }

    /// Each with its name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.0.iter().map(|(name, value)| (*name, value))
    }

    /// The value of a member; null where it is not set or there is none of this name.
    pub fn value(&self, name: &str) -> &Value {
        self.iter().find_map(|(found, value)| (found == name).then_some(value)).unwrap_or(&Value::Null)
    }
}

impl FromIterator<(&'static str, Value)> for Members {
    fn from_iter<I: IntoIterator<Item = (&'static str, Value)>>(members: I) -> Self {
        Self(members.into_iter().collect())
    }
}

impl IntoIterator for Members {
    type Item = (&'static str, Value);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl Serialize for Members {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

/// Notes which members a struct asks for.
struct AskedFor<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for AskedFor<'_> {
    type Error = Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        *self.0 = fields;
        self.deserialize_any(visitor)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Error> {
        Err(Error::custom("there is nothing to read"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct newtype_struct seq
        tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Default, Serialize, Deserialize)]
    struct Record {
        z: u8,
        #[serde(rename = "renamed", default, skip_serializing_if = "Option::is_none")]
        a: Option<String>,
        list: Vec<u8>,
    }

    #[test]
    fn members_are_those_of_the_type_in_its_order_whether_set_or_not() {
        assert_eq!(names_of::<Record>(), ["z", "renamed", "list"]);
        let unset = Members::of(&Record::default());
        assert_eq!(serde_json::to_string(&unset).expect("JSON"), r#"{"z":0,"renamed":null,"list":[]}"#);
        let set = Members::of(&Record { a: Some("text".to_owned()), ..Record::default() });
        assert_eq!((set.value("renamed"), set.value("z")), (&json!("text"), &json!(0)));
        assert_eq!(set.value("a"), &Value::Null, "not a member's name");
        assert_eq!(names_of::<String>(), [""; 0], "not a struct");
    }
}
