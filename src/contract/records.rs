//! Favorites, packages, evidence and preferences: records whose data is the product's own.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::body::{BodyError, object_of, parse_object};
use super::chat::ThreadId;

/// A favorite, a package, or a piece of evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Its identifier among its owner's.
    pub id: String,
    /// When it was made, RFC 3339 in UTC.
    pub created_at: String,
    /// When its data was last written, RFC 3339 in UTC.
    pub updated_at: String,
    /// The product's own object.
    #[schema(value_type = Object)]
    pub data: Map<String, Value>,
}

/// The body that keeps a record.
#[derive(Clone, Debug, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct NewRecord {
    /// Its identifier, 1 to 128 of `A-Za-z0-9_-`; the record of this identifier is replaced, so the
    /// request may be sent again. One is made where there is none.
    #[schema(value_type = Option<String>, pattern = "^[A-Za-z0-9_-]{1,128}$")]
    pub id: Option<ThreadId>,
    /// The product's own object, at most 16 KiB as compact JSON.
    #[schema(value_type = Object)]
    pub data: Map<String, Value>,
}

/// An owner's preferences.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Preferences {
    /// When they were last written, RFC 3339 in UTC; `null` if they never were.
    #[schema(required)]
    pub updated_at: Option<String>,
    /// The product's own object; empty if it was never written.
    #[schema(value_type = Object)]
    pub data: Map<String, Value>,
}

/// The body of `PUT /api/preferences`.
#[derive(Clone, Debug, PartialEq, Eq, ToSchema)]
pub struct NewPreferences {
    /// The product's own object, at most 16 KiB as compact JSON; it replaces what was.
    #[schema(value_type = Object)]
    pub data: Map<String, Value>,
}

impl NewRecord {
    /// Reads the body of the request.
    ///
    /// # Errors
    /// [`BodyError`], of which a shape names its first path.
    pub fn read(bytes: &[u8]) -> Result<Self, BodyError> {
        let mut members = parse_object(bytes)?;
        let id = match members.get("id") {
            None | Some(Value::Null) => None,
            Some(id) => {
                let id = id.as_str().and_then(|id| id.parse().ok());
                let expected = "an id of 1 to 128 characters of A-Z a-z 0-9 _ -";
                Some(id.ok_or_else(|| BodyError::shape("id", expected))?)
            }
        };
        Ok(Self { id, data: object_of(&mut members, "data")? })
    }
}

impl NewPreferences {
    /// Reads the body of the request.
    ///
    /// # Errors
    /// [`BodyError`], of which a shape names its first path.
    pub fn read(bytes: &[u8]) -> Result<Self, BodyError> {
        let mut members = parse_object(bytes)?;
        Ok(Self { data: object_of(&mut members, "data")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_with_and_without_an_identifier() {
        let read = |body: &str| NewRecord::read(body.as_bytes());
        let data = Map::from_iter([("a".to_owned(), Value::from(1))]);
        let unnamed = NewRecord { id: None, data: data.clone() };
        assert_eq!(read(r#"{"data":{"a":1},"more":true}"#), Ok(unnamed.clone()));
        assert_eq!(read(r#"{"id":null,"data":{"a":1}}"#), Ok(unnamed));
        let named = NewRecord { id: Some("x".parse().unwrap()), data };
        assert_eq!(read(r#"{"id":"x","data":{"a":1}}"#), Ok(named));
        for (body, path) in [
            ("7", "$"),
            ("{}", "data"),
            (r#"{"data":[]}"#, "data"),
            (r#"{"id":"","data":{}}"#, "id"),
        ] {
            assert_eq!(read(body).unwrap_err().issues()[0].path, path, "{body}");
        }
        assert!(NewPreferences::read(b"{}").is_err());
        assert!(NewPreferences::read(br#"{"data":{}}"#).unwrap().data.is_empty());
    }
}
