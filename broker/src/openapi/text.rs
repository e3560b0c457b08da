//! Doc comments as text of pages and descriptions.

use rollmill_broker_client::{
    AUDIT_MAX, BATCH_MAX, FREE_JSON_BYTES_MAX, LIST_MAX, SizeClass, WAIT_MS_MAX,
};

/// A doc comment as one paragraph, with constants as their values.
pub fn prose(doc: &str) -> String {
    let constants = [
        ("BATCH_MAX", BATCH_MAX.to_string()),
        ("AUDIT_MAX", AUDIT_MAX.to_string()),
        ("LIST_MAX", LIST_MAX.to_string()),
        ("WAIT_MS_MAX", WAIT_MS_MAX.to_string()),
        ("SizeClass::LARGEST", SizeClass::LARGEST.to_string()),
        ("FREE_JSON_BYTES_MAX", FREE_JSON_BYTES_MAX.to_string()),
    ];
    let mut text = sentence(doc);
    for (name, value) in constants {
        text = text.replace(&format!("[`{name}`]"), &value);
    }
    text
}

/// The lines of a doc comment as one.
pub fn sentence(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}
