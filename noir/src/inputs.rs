//! Inputs of a program: `Prover.toml` as Noir's tools read it, or the same as JSON.

use std::path::Path;

use serde_json::{Map, Value};

use crate::NoirError;
use crate::files::read;

/// Most bytes of a file of inputs.
const BYTES_MAX: u64 = 64 << 20;

/// Reads a file: JSON if its name ends with `.json`, else TOML.
///
/// # Errors
/// [`NoirError::Read`], [`NoirError::TooLarge`] and [`NoirError::Inputs`]
pub fn load(path: &Path) -> Result<Map<String, Value>, NoirError> {
    let wrong = |reason: String| NoirError::Inputs { path: path.display().to_string(), reason };
    let bytes = read(path, BYTES_MAX)?;
    if path.extension().is_some_and(|extension| extension == "json") {
        return serde_json::from_slice(&bytes)
            .map_err(|error| wrong(format!("line {} is not JSON of an object", error.line())));
    }
    let text = String::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8".to_owned()))?;
    toml(&text).map_err(wrong)
}

/// Reads TOML. The reason of an error names a line.
fn toml(text: &str) -> Result<Map<String, Value>, String> {
    toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        let line = text.bytes().take(start).filter(|byte| *byte == b'\n').count() + 1;
        format!("line {line} is not TOML: {}", error.message())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn toml_is_read_as_json_would_be() {
        let read = toml("x = 7\nbig = \"0xff\"\nbits = [true, false]\n[note]\nowner.x = -1\n");
        let expected = serde_json::json!({
            "x": 7, "big": "0xff", "bits": [true, false], "note": {"owner": {"x": -1}}});
        assert_eq!(read.map(Value::Object), Ok(expected));
    }

    #[test]
    fn an_error_names_its_line() {
        let reason = toml("x = 1\ny = = 2\n").unwrap_err();
        assert!(reason.starts_with("line 2 "), "{reason}");
        // A number that would lose digits.
        assert!(toml("x = 1\ny = 99999999999999999999\n").is_err());
    }
}
