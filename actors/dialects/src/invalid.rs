//! Why a body cannot be taken.

use std::fmt;

/// What internal readers give: the error is boxed, so that the result of a step fits a register.
pub(crate) type Read<T> = Result<T, Box<Invalid>>;

/// A body that is not what its endpoint takes: the caller's fault in a request, the provider's in an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// For people: names the field or the byte.
    pub message: String,
    /// The field, as a path like `messages[3].role`, where one is to blame.
    pub param: Option<String>,
    /// For programs: `invalid_json`, `missing_required_parameter`, `invalid_type`, `invalid_value`, `duplicate_key`, `too_large`.
    pub code: &'static str,
}

impl Invalid {
    /// Not JSON, or not JSON that we read. `at` is a byte of the body, from 0.
    pub(crate) fn json(at: usize, what: &str) -> Box<Invalid> {
        Box::new(Invalid { message: format!("The body is not valid JSON: {what} at byte {at}."), param: None, code: "invalid_json" })
    }

    /// A field that has to be there is not.
    pub(crate) fn missing(param: &str) -> Box<Invalid> {
        Box::new(Invalid {
            message: format!("Missing required parameter: '{param}'."),
            param: Some(param.to_owned()),
            code: "missing_required_parameter",
        })
    }

    /// A field has the wrong JSON type.
    pub(crate) fn kind(param: &str, wanted: &str) -> Box<Invalid> {
        Box::new(Invalid {
            message: format!("Invalid type for '{param}': expected {wanted}."),
            param: Some(param.to_owned()),
            code: "invalid_type",
        })
    }

    /// A field has the right type and a value that cannot be.
    pub(crate) fn value(param: &str, why: &str) -> Box<Invalid> {
        Box::new(Invalid { message: format!("Invalid value for '{param}': {why}."), param: Some(param.to_owned()), code: "invalid_value" })
    }

    /// A key stands twice: two readers could see two different requests.
    pub(crate) fn duplicate(param: &str) -> Box<Invalid> {
        Box::new(Invalid {
            message: format!("Duplicate key in the body: '{param}'."),
            param: Some(param.to_owned()),
            code: "duplicate_key",
        })
    }

    /// Something is larger than its bound.
    pub(crate) fn large(what: &str, bytes_max: usize) -> Box<Invalid> {
        Box::new(Invalid { message: format!("{what} is larger than {bytes_max} bytes."), param: None, code: "too_large" })
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Invalid {}

impl From<Box<Invalid>> for Invalid {
    fn from(invalid: Box<Invalid>) -> Invalid {
        *invalid
    }
}
