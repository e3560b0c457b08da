//! Headers by which a tenant's Aztec programs notice that they are of another version. Aztec's servers send them, and
//! its clients compare those that are there with their own values, and stop where one differs.

use std::collections::{HashMap, HashSet};

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::store::Tenant;

/// What the names begin with.
const PREFIX: &str = "x-aztec-";
/// The rest of the names that Aztec's clients know, as its servers write them.
const NAMES: [&str; 6] = [
    "l1ChainId",
    "l1RollupAddress",
    "rollupVersion",
    "l2ProtocolContractsHash",
    "l2CircuitsVkTreeRoot",
    "packageVersion",
];

/// Parses `TENANT/NAME=VALUE` as often as it is there, separated by commas. An empty text is an empty list.
///
/// # Errors
/// What is expected.
pub(crate) fn headers(text: &str) -> Result<Vec<String>, String> {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    let mut known = HashSet::new();
    let checked = items.map(|item| {
        let (tenant, name, _) = read(item)?;
        match known.insert((tenant, name.as_str().to_owned())) {
            true => Ok(item.to_owned()),
            false => Err(format!("`{item}` gives a tenant a second value of one header")),
        }
    });
    checked.collect()
}

fn read(item: &str) -> Result<(&str, HeaderName, HeaderValue), String> {
    let expected =
        || format!("`{item}` is not TENANT/NAME=VALUE, where NAME is one of {}", NAMES.join(", "));
    let (tenant, header) = item.split_once('/').ok_or_else(expected)?;
    let (name, value) = header.split_once('=').ok_or_else(expected)?;
    if tenant.is_empty() || value.is_empty() || !NAMES.contains(&name) {
        return Err(expected());
    }
    // In HTTP names have no case, and the library wants theirs to be lower.
    let name = format!("{PREFIX}{name}").to_ascii_lowercase();
    let name = HeaderName::try_from(name).map_err(|_| expected())?;
    let value = HeaderValue::from_str(value).map_err(|_| expected())?;
    Ok((tenant, name, value))
}

/// The headers of each tenant that has some.
#[derive(Debug, Default)]
pub(super) struct Pinned(HashMap<String, HeaderMap>);

impl Pinned {
    /// Those of the setting, which [`headers`] has parsed.
    pub(super) fn of(setting: &[String]) -> Self {
        let mut all: HashMap<String, HeaderMap> = HashMap::new();
        for (tenant, name, value) in setting.iter().filter_map(|item| read(item).ok()) {
            all.entry(tenant.to_owned()).or_default().insert(name, value);
        }
        Self(all)
    }

    /// Adds those of the tenant.
    pub(super) fn add(&self, tenant: &Tenant, to: &mut HeaderMap) {
        if let Some(own) = self.0.get(tenant.as_str()) {
            to.extend(own.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_those_of_their_tenant_and_anything_else_is_said() {
        let text = "a/rollupVersion=5, b/rollupVersion=4,a/l2CircuitsVkTreeRoot=0x2f=";
        let setting = headers(text).unwrap();
        assert_eq!(setting.len(), 3);
        let pinned = Pinned::of(&setting);
        let of = |tenant: &str| {
            let mut found = HeaderMap::new();
            pinned.add(&Tenant(tenant.to_owned()), &mut found);
            found
        };
        assert_eq!((of("a").len(), of("b").len(), of("c").len()), (2, 1, 0));
        assert_eq!(of("a")["x-aztec-rollupVersion"], "5");
        assert_eq!(of("a")["x-aztec-l2circuitsvktreeroot"], "0x2f=");
        assert_eq!(of("b")["x-aztec-rollupversion"], "4");
        assert_eq!(headers(" , "), Ok(Vec::new()));
        // Which of them counted, nobody would know.
        let twice = headers("a/rollupVersion=5,b/rollupVersion=5,a/rollupVersion=6").unwrap_err();
        assert!(twice.contains("`a/rollupVersion=6` gives a tenant a second value"), "{twice}");
        for wrong in [
            "nonsense",
            "a/rollupVersion",
            "rollupVersion=5",
            "/rollupVersion=5",
            "a/rollupVersion=",
            "a/rollupversion=5",
            "a/server=5",
            "a/rollupVersion=5\n6",
        ] {
            let error = headers(wrong).unwrap_err();
            assert!(error.contains("TENANT/NAME=VALUE") && error.contains("l1ChainId"), "{error}");
        }
    }
}
